// The worker talks to the daemon, over the same websocket as every client, and
// keeps the numbers. The page gets from it only what it is about to show, so
// that a large tree never holds up the page's own thread.
'use strict';

importScripts('/page/documents.js');

const SPARK = 60;           // seconds in a sparkline
const POINTS = 1500;        // most points of a line in the chart
const STATUS_EVERY = 3000;  // ms
const RETRY = [300, 600, 1200, 2500, 5000];

const METRICS = ['cpu', 'io', 'memory'];

// ---- connections

// A Link is one websocket that comes back by itself.
class Link {
  constructor(opened, message, closed) {
    Object.assign(this, { opened, message, closed, tries: 0, socket: null });
    this.connect();
  }
  connect() {
    const scheme = self.location.protocol === 'https:' ? 'wss://' : 'ws://';
    const socket = new WebSocket(scheme + self.location.host + '/');
    this.socket = socket;
    socket.onopen = () => { this.tries = 0; this.opened(); };
    socket.onmessage = (e) => this.message(JSON.parse(e.data));
    socket.onclose = () => {
      this.socket = null;
      const wait = RETRY[Math.min(this.tries++, RETRY.length - 1)];
      setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
      this.closed();
    };
  }
  send(cmd, args) { this.socket.send(JSON.stringify({ cmd, args })); }
  get open() { return this.socket !== null && this.socket.readyState === WebSocket.OPEN; }
}

// Questions have one answer each, in order.
const waiting = [];
const questions = new Link(
  () => { documents.clear(); refresh(); },
  (reply) => {
    const q = waiting.shift();
    if (reply.error !== undefined && reply.code !== undefined) q.reject(Object.assign(new Error(reply.error), { code: reply.code })); else q.resolve(reply);
  },
  () => { for (const q of waiting.splice(0)) q.reject(new Error('the connection was lost')); });

function ask(cmd, args) {
  if (!questions.open) return Promise.reject(new Error('not connected'));
  return new Promise((resolve, reject) => { waiting.push({ resolve, reject }); questions.send(cmd, args); });
}

// The feed is a connection of its own: its messages come unasked.
const feed = new Link(
  () => { first = true; feed.send('subscribe_account', { rate: true }); },
  (message) => {
    if (message.error !== undefined && message.code !== undefined) { post({ type: 'state', state: 'error', text: message.error }); return; }
    for (const slot of Object.keys(message)) arrived(Number(slot), message[slot]);
  },
  () => post({ type: 'state', state: 'lost' }));

let first = true; // the next slot is the first of this connection
let newest = 0;   // slot

function post(message) { self.postMessage(message); }

// ---- slots

// numbers turns a slot into a map of path to what is known of that cgroup.
function numbers(slot) {
  const out = new Map();
  const at = (path) => {
    let n = out.get(path);
    if (!n) out.set(path, n = { path, cpu: null, read: null, write: null, io: null, memory: null, pids: null });
    return n;
  };
  for (const subsystem of Object.keys(slot)) {
    const walk = (node, path) => {
      const n = at(path), v = node.value || {};
      switch (subsystem) {
        case 'cpu': if (v.usage !== undefined) n.cpu = v.usage; break;
        case 'cpuacct': if (v.usage !== undefined && n.cpu === null) n.cpu = v.usage; break;
        case 'memory': if (v.usage !== undefined) n.memory = v.usage; break;
        case 'pids': if (v.current !== undefined) n.pids = v.current; break;
        case 'blkio':
          for (const device of Object.values(v)) {
            if (device.Read === undefined) continue; // a further member
            n.read += device.Read; n.write += device.Write; n.io = n.read + n.write;
          }
      }
      for (const name of Object.keys(node.sub_cgroup || {})) walk(node.sub_cgroup[name], path === '' ? name : path + '/' + name);
    };
    walk(slot[subsystem], '');
  }
  return out;
}

// between makes rates of two slots of counters.
function between(before, after, seconds) {
  const rate = (a, b) => (a === null || b === null || b < a ? null : (b - a) / seconds);
  for (const [path, n] of after) {
    const old = before.get(path);
    for (const key of ['cpu', 'read', 'write', 'io']) n[key] = old ? rate(old[key], n[key]) : null;
  }
  return after;
}

const live = new Map(); // path → row
let frozen = null;      // what is shown instead of live: { rows, slot }
let processes = new Map(); // path → how many there are, those below included

function newRow(path) {
  const cut = path.lastIndexOf('/');
  const sparks = {};
  for (const m of METRICS) sparks[m] = new Float32Array(SPARK);
  return { path, name: path.slice(cut + 1), parent: path === '' ? null : cut < 0 ? '' : path.slice(0, cut), sparks };
}

function arrived(slot, value) {
  const now = numbers(value);
  for (const path of live.keys()) if (!now.has(path)) live.delete(path);
  for (const [path, n] of now) {
    let row = live.get(path);
    if (!row) live.set(path, row = newRow(path));
    Object.assign(row, n);
    for (const m of METRICS) { row.sparks[m].copyWithin(0, 1); row.sparks[m][SPARK - 1] = n[m] || 0; }
  }
  newest = slot;
  remember(slot, now);
  if (first) {
    first = false;
    kept.clear(); // the daemon may be another one: its history is asked for again
    post({ type: 'state', state: 'live' });
    loadSparks(slot);
    loadHistories();
  }
  if (view.paused && !frozen) freeze(live, slot);
  show();
}

// loadSparks fills the sparklines from history; fewer seconds for larger trees.
async function loadSparks(end) {
  const seconds = Math.min(SPARK, Math.floor(20000 / Math.max(live.size, 1)));
  if (seconds < 2) return;
  try {
    const slots = await ask('show_account', { start_slot: end - seconds, end_slot: end - 1, rate: true });
    for (const key of Object.keys(slots)) {
      for (const [path, n] of numbers(slots[key])) {
        const row = live.get(path), place = SPARK - 1 - (newest - Number(key));
        if (row && place >= 0) for (const m of METRICS) row.sparks[m][place] = n[m] || 0;
      }
    }
    show();
  } catch { /* the sparklines fill by themselves */ }
}

function freeze(rows, slot) {
  frozen = { slot, rows: new Map() };
  for (const [path, row] of rows) {
    const copy = Object.assign(newRow(path), row);
    copy.sparks = row.sparks ? Object.fromEntries(METRICS.map((m) => [m, row.sparks[m].slice()])) : {};
    copy.counted = count(row);
    frozen.rows.set(path, copy);
  }
}

// freezeAt shows the table as it was.
async function freezeAt(at) {
  let rows = null, slot = at;
  try {
    let slots = await ask('show_account', { start_slot: at, end_slot: at, rate: true });
    if (slots[at] !== undefined) {
      rows = numbers(slots[at]);
    } else { // only Redis has it, which holds counters
      slots = await ask('show_account', { start_slot: at - 5, end_slot: at });
      const keys = Object.keys(slots).map(Number).sort((a, b) => a - b);
      if (keys.length > 1) {
        const [a, b] = keys.slice(-2);
        slot = b;
        rows = between(numbers(slots[a]), numbers(slots[b]), b - a);
      }
    }
  } catch (e) { post({ type: 'note', text: String(e.message) }); }
  if (view.at !== at) return; // asked for something else meanwhile
  freeze(rows || new Map(), slot);
  if (!rows) post({ type: 'note', text: 'no sample of that second is kept' });
  show();
}

// ---- the table

let view = { sort: 'cpu', down: true, flat: false, filter: '', at: 0, paused: false, selected: [], closed: [], metric: 'cpu', range: null };
let shown = { first: 0, count: 40 };
let order = []; // of rows, as they are shown

function value(row, key) {
  if (key === 'name') return row.name;
  if (key === 'processes') return tally(row);
  return row[key];
}

const count = (row) => (row.counted !== undefined ? row.counted : row.pids !== null && row.pids !== undefined ? row.pids : processes.has(row.path) ? processes.get(row.path) : null);

// tally is count at the moment that is shown: how many processes there were is not
// in the history, how many tasks may be.
const past = () => frozen !== null && view.at > 0;
const tally = (row) => (past() ? row.pids ?? null : count(row));

function byColumn(a, b) {
  const x = value(a, view.sort), y = value(b, view.sort);
  const absent = (x === null || x === undefined) - (y === null || y === undefined);
  if (absent !== 0) return absent;
  if (x !== y && x !== null && x !== undefined) return (x < y ? -1 : 1) * (view.down ? -1 : 1);
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

function arrange(rows) {
  const wanted = view.filter.toLowerCase();
  let keep = null; // paths, null for all
  if (wanted !== '') {
    keep = new Set();
    for (const row of rows.values()) {
      if (!row.path.toLowerCase().includes(wanted)) continue;
      keep.add(row.path);
      if (!view.flat) for (let p = row.parent; p !== null && p !== undefined; p = rows.has(p) ? rows.get(p).parent : null) keep.add(p);
    }
  }
  const list = keep ? [...rows.values()].filter((r) => keep.has(r.path)) : [...rows.values()];
  if (view.flat) {
    for (const row of list) { row.depth = 0; row.kids = false; }
    return list.sort(byColumn);
  }
  const below = new Map();
  for (const row of list) {
    if (row.parent === null) continue;
    if (!below.has(row.parent)) below.set(row.parent, []);
    below.get(row.parent).push(row);
  }
  const closed = new Set(view.closed), out = [];
  const add = (row, depth) => {
    const kids = below.get(row.path);
    row.depth = depth; row.kids = kids !== undefined; row.closed = closed.has(row.path) && !keep;
    out.push(row);
    if (kids && !row.closed) for (const k of kids.sort(byColumn)) add(k, depth + 1);
  };
  if (rows.has('')) add(rows.get(''), 0);
  return out;
}

const sparkOf = () => (view.sort === 'memory' ? 'memory' : ['io', 'read', 'write'].includes(view.sort) ? 'io' : 'cpu');

function showTable() {
  const from = frozen || { rows: live, slot: newest };
  order = arrange(from.rows);
  const spark = sparkOf(), old = past(), tasks = typeof from.rows.get('')?.pids === 'number';
  const rows = order.slice(shown.first, shown.first + shown.count).map((r) => ({
    path: r.path, name: view.flat ? r.path : r.name, depth: r.depth, kids: r.kids, closed: r.closed,
    cpu: r.cpu, io: r.io, read: r.read, write: r.write, memory: r.memory, processes: tally(r), whole: tasks && typeof r.pids !== 'number', spark: old ? null : r.sparks[spark].slice(),
  }));
  post({ type: 'table', slot: from.slot, total: order.length, all: from.rows.size, first: shown.first, spark, tasks, rows });
}

// show sends everything that a new slot or another view changes.
function show() {
  showTable();
  if (!view.paused) showChart();
}

// ---- the chart

const kept = new Map(); // path → { t, cpu, io, memory }: arrays of the same length
const loading = new Set();

const chosen = () => (view.selected.length > 0 ? view.selected : ['']);

function remember(slot, now) {
  for (const [path, h] of kept) {
    if (h.t.length > 0 && h.t[h.t.length - 1] >= slot) continue;
    const n = now.get(path);
    h.t.push(slot);
    for (const m of METRICS) h[m].push(n ? n[m] : null);
  }
}

function loadHistories() { for (const path of chosen()) if (!kept.has(path) && !loading.has(path)) loadHistory(path); }

// loadHistory asks for all that is kept of one cgroup: counters, since slots
// from before the daemon's start have nothing else.
async function loadHistory(path) {
  loading.add(path);
  try {
    const slots = await ask('show_account', { start_slot: 0, cgroup: path, alone: true });
    const h = { t: [], cpu: [], io: [], memory: [] };
    let before = null, last = 0;
    for (const slot of Object.keys(slots).map(Number).sort((a, b) => a - b)) {
      const n = numbers(slots[slot]);
      const counters = new Map([[path, { ...(n.get(path) || {}) }]]);
      if (before && n.has(path)) {
        const r = between(before, n, slot - last).get(path);
        h.t.push(slot);
        for (const m of METRICS) h[m].push(r[m]);
      }
      before = n.has(path) ? counters : null;
      last = slot;
    }
    kept.set(path, h);
    if (!view.paused) showChart();
  } catch { /* asked again with the next view or connection */ } finally { loading.delete(path); }
}

function showChart() {
  const paths = chosen().filter((p) => kept.has(p));
  const places = new Map();
  for (const p of paths) for (const t of kept.get(p).t) places.set(t, 0);
  let times = [...places.keys()].sort((a, b) => a - b);
  const [from, to] = view.range || [-Infinity, Infinity];
  // One more on each side, so that lines go on to the edge.
  const a = Math.max(0, times.findIndex((t) => t >= from) - 1);
  let b = times.length;
  while (b > 0 && times[b - 1] > to) b--;
  times = times.slice(a, Math.min(b + 1, times.length));
  // A missing second is a gap, not a line across it.
  const t = [];
  times.forEach((v, i) => { if (i > 0 && v - times[i - 1] > 1) t.push(times[i - 1] + 1); t.push(v); });
  t.forEach((v, i) => places.set(v, i));
  let series = paths.map((p) => {
    const h = kept.get(p), out = new Array(t.length).fill(null);
    for (let i = 0; i < h.t.length; i++) {
      const place = places.get(h.t[i]);
      if (t[place] === h.t[i]) out[place] = h[view.metric][i];
    }
    return out;
  });
  let step = 1;
  if (t.length > POINTS) { // the highest of each few: a peak is what one looks for
    step = Math.ceil(t.length / POINTS);
    const pick = (list, f) => { const o = []; for (let i = 0; i < list.length; i += step) o.push(f(list.slice(i, i + step))); return o; };
    series = series.map((s) => pick(s, (x) => x.reduce((m, v) => (v === null ? m : m === null || v > m ? v : m), null)));
    t.splice(0, t.length, ...pick(t, (x) => x[0]));
  }
  post({ type: 'chart', metric: view.metric, paths, t, series, step, loading: loading.size > 0 });
}

// ---- status, documents

let statusTimer = 0, hidden = false, seenEvents = '';

async function refresh() {
  clearTimeout(statusTimer);
  if (!questions.open) return;
  try {
    const s = await ask('get_status');
    processes = countProcesses(s.members || {});
    const version = s.version.in_force, since = inForceSince(s.events || []);
    // A version is an identity only as long as the node is not made anew.
    if (since !== seenInForce) documents.clear();
    seenInForce = since;
    if (version >= 0 && !documents.has(version)) await documentOf(version);
    const events = s.events || [], last = events[events.length - 1];
    const mark = events.length + ' ' + (last ? last.time + last.text : '');
    const fresh = mark !== seenEvents;
    seenEvents = mark;
    post({ type: 'status', status: {
      ...s, members: undefined, events: fresh ? events : undefined, host_faults: s.host_faults.slice(0, 500), faults: s.host_faults.length,
      pid_files: s.pid_files.slice(0, 500), more_pid_files: Math.max(0, s.pid_files.length - 500),
    } });
  } catch { /* lost: the link comes back */ }
  clearTimeout(statusTimer);
  if (!hidden) statusTimer = setTimeout(refresh, STATUS_EVERY);
}

const inForceSince = (events) => events.findLast((e) => e.kind === 'version')?.time;
let seenInForce;

// countProcesses adds up who is in and below each cgroup, in the subsystem that
// knows most of them.
function countProcesses(members) {
  const best = new Map();
  for (const paths of Object.values(members)) {
    const sums = new Map([['', 0]]);
    for (const path of Object.keys(paths)) {
      const n = paths[path].length;
      for (let p = path; ; p = p.slice(0, p.lastIndexOf('/'))) {
        sums.set(p, (sums.get(p) || 0) + n);
        if (!p.includes('/')) { if (p !== '') sums.set('', sums.get('') + n); break; }
      }
    }
    for (const [p, n] of sums) if (n >= (best.get(p) || 0)) best.set(p, n);
  }
  return best;
}

// ---- what the page asks for

let movedTo = '';
const handlers = {
  view(m) {
    const before = view;
    view = m.view;
    const moment = view.at !== before.at || view.paused !== before.paused;
    if (moment) {
      frozen = null;
      if (view.at > 0) { freezeAt(view.at); }
      else if (view.paused) freeze(live, newest);
    }
    loadHistories();
    for (const path of kept.keys()) if (path !== '' && !view.selected.includes(path)) kept.delete(path);
    if (!moment || view.at === 0) showTable();
    showChart();
  },
  window(m) { shown = m; showTable(); },
  move(m) { // the row so many further on; from null: from where the last move went, whose answer is still on its way
    const from = m.from ?? movedTo;
    const i = order.findIndex((r) => r.path === from);
    const to = Math.max(0, Math.min(order.length - 1, i < 0 ? 0 : i + m.by));
    const row = order[to];
    movedTo = row ? row.path : from;
    post({ type: 'focus', path: row?.path, index: to, kids: row?.kids, closed: row?.closed, parent: row?.parent });
  },
  hidden(m) { hidden = m.hidden; if (!hidden) refresh(); },
  async ask(m) {
    try { post({ type: 'answer', id: m.id, reply: await ask(m.cmd, m.args) }); }
    catch (e) { post({ type: 'answer', id: m.id, error: e.message }); }
  },
  diff,
  async document(m) {
    try {
      const text = JSON.stringify(await documentOf(m.version), null, 2), most = 200000;
      post({ type: 'document', version: m.version, text: text.slice(0, most), more: Math.max(0, text.length - most) });
    } catch (e) { post({ type: 'document', version: m.version, text: e.message, more: 0, error: true }); }
  },
};

self.onmessage = (e) => handlers[e.data.type](e.data);
