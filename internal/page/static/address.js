// What is shown is in the page's address, so that it can be kept and sent to others.

const DEFAULTS = { sort: 'cpu', down: '1', flat: '', filter: '', at: '', pause: '', metric: 'cpu', range: '', kind: '', from: '', to: '', edit: '', all: '', pid: '' };
export const TABS = ['usage', 'events', 'configuration', 'hosts', 'process', 'daemon'];
export const state = { ...DEFAULTS };
export let tab = 'usage', cgroups = [], closed = [];

export function readAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  tab = TABS.includes(path) ? path : 'usage';
  const p = new URLSearchParams(query || '');
  for (const key of Object.keys(DEFAULTS)) state[key] = p.get(key) ?? DEFAULTS[key];
  cgroups = p.getAll('cgroup');
  closed = p.getAll('closed');
}

// address is that of another view, with changes.
export function address(toTab, changes = {}) {
  const all = { ...state, ...changes }, p = new URLSearchParams();
  for (const key of Object.keys(DEFAULTS)) if (all[key] !== DEFAULTS[key]) p.set(key, all[key]);
  for (const c of changes.cgroup ?? cgroups) p.append('cgroup', c);
  for (const c of changes.closed ?? closed) p.append('closed', c);
  const q = p.toString();
  return '#/' + toTab + (q ? '?' + q : '');
}

let changed;
export function onChange(f) { changed = f; }

// go changes the view. Small steps replace the entry in the browser's history.
export function go(changes, { to = tab, replace = false } = {}) {
  const hash = address(to, changes);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, '', hash); else history.pushState(null, '', hash);
  changed();
}

export function choose(path, more) {
  let list;
  if (more) list = cgroups.includes(path) ? cgroups.filter((c) => c !== path) : [...cgroups, path].slice(-8);
  else list = cgroups.length === 1 && cgroups[0] === path ? [] : [path];
  go({ cgroup: list });
}
export function toggle(path) {
  go({ closed: closed.includes(path) ? closed.filter((c) => c !== path) : [...closed, path] }, { replace: true });
}
