// Numbers as people read them.

export const percent = (ns) => { const p = ns / 1e7; return (p >= 99.95 ? Math.round(p) : p.toFixed(1)) + ' %'; };
export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[i];
}
const FORMAT = { cpu: percent, read: (n) => bytes(n) + '/s', write: (n) => bytes(n) + '/s', io: (n) => bytes(n) + '/s', memory: bytes, processes: String };
export const format = (key, n) => (n === null || n === undefined ? '–' : FORMAT[key](n));
const two = (n) => String(n).padStart(2, '0');
export function clock(t) { const d = new Date(t * 1000); return [d.getHours(), d.getMinutes(), d.getSeconds()].map(two).join(':'); }
export function moment(time) {
  const d = new Date(time), today = new Date().toDateString() === d.toDateString();
  return (today ? '' : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} `) + clock(d / 1000);
}

// when is a moment, of which Go's zero (in the year 1) stands for not known.
export const when = (time) => (Date.parse(time) > 0 ? moment(time) : 'unknown');

// secondOf reads "03:12:07", the last time that a clock showed it, with or without
// a date before it. 0: it is nothing of the kind.
export function secondOf(text) {
  const m = /^(?:(\d{4})-(\d\d?)-(\d\d?)[ T]+)?(\d\d?):(\d\d)(?::(\d\d))?$/.exec(text.trim());
  if (!m) return 0;
  const d = new Date();
  if (m[1]) d.setFullYear(Number(m[1]), Number(m[2]) - 1, Number(m[3]));
  d.setHours(Number(m[4]), Number(m[5]), Number(m[6] || 0), 0);
  if (!m[1] && d > Date.now()) d.setDate(d.getDate() - 1);
  return Math.floor(d / 1000);
}
