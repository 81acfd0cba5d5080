// The page shows what the worker sends, and keeps what it shows in its address.
// Whatever comes from the daemon is set as text, never as HTML.

const $ = (id) => document.getElementById(id);
const worker = new Worker('/page/worker.js');
const tell = (message) => worker.postMessage(message);

// node makes an element: its text, its children.
function node(tag, text, ...children) {
  const e = document.createElement(tag);
  if (text !== null && text !== undefined && text !== '') e.textContent = text;
  e.append(...children);
  return e;
}
const classed = (e, name) => { e.className = name; return e; };

// visible spells out characters that would make a name look like another one:
// marks of writing direction, what has no width.
const visible = (name) => name.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
  (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
const shownPath = (path) => (path === '' ? '/' : visible(path));

// ---- the address

const DEFAULTS = { sort: 'cpu', down: '1', flat: '', filter: '', at: '', pause: '', metric: 'cpu', range: '', kind: '', from: '', to: '', edit: '', all: '', pid: '' };
const TABS = ['usage', 'events', 'configuration', 'hosts', 'process', 'daemon'];
let tab = 'usage', state = { ...DEFAULTS }, cgroups = [], closed = [];

function readAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  tab = TABS.includes(path) ? path : 'usage';
  const p = new URLSearchParams(query || '');
  for (const key of Object.keys(DEFAULTS)) state[key] = p.get(key) ?? DEFAULTS[key];
  cgroups = p.getAll('cgroup');
  closed = p.getAll('closed');
}

function address(toTab, changes = {}) {
  const all = { ...state, ...changes }, p = new URLSearchParams();
  for (const key of Object.keys(DEFAULTS)) if (all[key] !== DEFAULTS[key]) p.set(key, all[key]);
  for (const c of changes.cgroup ?? cgroups) p.append('cgroup', c);
  for (const c of changes.closed ?? closed) p.append('closed', c);
  const q = p.toString();
  return '#/' + toTab + (q ? '?' + q : '');
}

// go changes the view. Small steps replace the entry in the browser's history.
function go(changes, { to = tab, replace = false } = {}) {
  const hash = address(to, changes);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, '', hash); else history.pushState(null, '', hash);
  apply();
}

function apply() {
  readAddress();
  for (const s of document.querySelectorAll('[data-view]')) s.hidden = s.dataset.view !== tab;
  for (const a of document.querySelectorAll('[data-tab]')) {
    a.href = address(a.dataset.tab);
    if (a.dataset.tab === tab) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current');
  }
  const range = /^(\d+)-(\d+)$/.exec(state.range);
  tell({ type: 'view', view: {
    sort: state.sort, down: state.down === '1', flat: state.flat === '1', filter: state.filter, at: Number(state.at) || 0,
    paused: state.pause === '1', selected: cgroups, closed, metric: state.metric, range: range ? [Number(range[1]), Number(range[2])] : null,
  } });
  if ($('filter').value !== state.filter) $('filter').value = state.filter;
  if (document.activeElement !== $('at') || state.at) $('at').value = state.at ? moment(Number(state.at) * 1000) : '';
  $('live').hidden = !state.at;
  press($('pause'), state.pause === '1');
  press($('flat'), state.flat === '1');
  for (const b of document.querySelectorAll('[data-metric]')) press(b, b.dataset.metric === state.metric);
  $('unzoom').hidden = !state.range;
  showColumns();
  showChosen();
  showInside();
  showThen();
  loadPast();
  if (tab === 'events') showEvents();
  if (tab === 'configuration') showConfiguration();
  if (tab === 'process') showProcess();
  if (tab === 'hosts') showHosts();
  if (tab === 'daemon') showDaemon();
  if (tab === 'usage') requestAnimationFrame(fit);
}

const press = (button, on) => button.setAttribute('aria-pressed', String(on));

// ---- numbers as people read them

const percent = (ns) => { const p = ns / 1e7; return (p >= 99.95 ? Math.round(p) : p.toFixed(1)) + ' %'; };
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[i];
}
const FORMAT = { cpu: percent, read: (n) => bytes(n) + '/s', write: (n) => bytes(n) + '/s', io: (n) => bytes(n) + '/s', memory: bytes, processes: String };
const format = (key, n) => (n === null || n === undefined ? '–' : FORMAT[key](n));
const two = (n) => String(n).padStart(2, '0');
function clock(t) { const d = new Date(t * 1000); return [d.getHours(), d.getMinutes(), d.getSeconds()].map(two).join(':'); }
function moment(time) {
  const d = new Date(time), today = new Date().toDateString() === d.toDateString();
  return (today ? '' : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} `) + clock(d / 1000);
}

// ---- the table

const COLUMNS = [['name', 'Cgroup'], ['cpu', 'CPU'], ['io', 'I/O'], ['read', 'Read'], ['write', 'Write'], ['memory', 'Memory'], ['processes', 'Processes'], ['spark', '']];
const pool = []; // rows in use, from the first that is visible
let table = { tasks: false, total: 0, first: 0, rows: [], slot: 0, all: 0, spark: 'cpu' }, focused = '';
const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'));

function showColumns() {
  const head = $('columns');
  if (!head.children.length) {
    for (const [key, title] of COLUMNS) {
      const cell = classed(node('span', key === 'spark' ? title : ''), 'cell ' + key);
      cell.setAttribute('role', 'columnheader');
      if (key !== 'spark') {
        const b = node('button', title);
        b.type = 'button';
        b.addEventListener('click', () => sortBy(key));
        cell.append(b);
      }
      head.append(cell);
    }
  }
  COLUMNS.forEach(([key], i) => {
    const on = key === state.sort, cell = head.children[i];
    cell.setAttribute('aria-sort', !on ? 'none' : state.down === '1' ? 'descending' : 'ascending');
  });
  const counted = head.querySelector('.processes button');
  setText(counted, table.tasks ? 'Tasks' : 'Processes');
  counted.title = table.tasks ? 'processes and threads, as the controller pids counts them; "proc.": processes where the document does not name it' : 'processes in the cgroup and below it';
  setText(head.lastChild, SPARK_TITLE[METRIC_OF[state.sort] ?? 'cpu']);
}

function sortBy(key) {
  const down = key === state.sort ? (state.down === '1' ? '0' : '1') : key === 'name' ? '0' : '1';
  go({ sort: key, down, metric: METRIC_OF[key] ?? state.metric }, { replace: true });
}

// METRIC_OF is what the chart shows when the table is sorted by a column.
const METRIC_OF = { cpu: 'cpu', io: 'io', read: 'io', write: 'io', memory: 'memory' };
const SPARK_TITLE = { cpu: 'CPU, last minute', io: 'I/O, last minute', memory: 'memory, last minute' };

function newRow(i) {
  const row = classed(node('div'), 'row');
  row.setAttribute('role', 'row');
  row.id = 'row' + i;
  const cells = {};
  for (const [key] of COLUMNS) {
    const cell = classed(node('span'), 'cell ' + key);
    cell.setAttribute('role', 'gridcell');
    if (key === 'name') {
      cells.twisty = classed(node('span'), 'twisty');
      cells.label = classed(node('bdi'), 'label');
      cell.append(cells.twisty, cells.label);
    } else if (key === 'spark') {
      cells.canvas = node('canvas');
      cell.append(cells.canvas);
    }
    cells[key] = cell;
    row.append(cell);
  }
  row.addEventListener('click', (e) => {
    if (row.path === undefined) return;
    focused = row.path;
    if (e.target === cells.twisty && cells.twisty.textContent) toggle(row.path); else choose(row.path, e.ctrlKey || e.metaKey || e.shiftKey);
  });
  row.cells = cells;
  $('rows').append(row);
  return row;
}

const setText = (e, text) => { if (e.textContent !== text) e.textContent = text; };

function showTable() {
  const height = rowHeight(), rows = $('rows');
  rows.style.height = table.total * height + 'px';
  while (pool.length < table.rows.length) pool.push(newRow(pool.length));
  let active = '';
  pool.forEach((row, i) => {
    const r = table.rows[i];
    row.hidden = !r;
    if (!r) { row.path = undefined; return; }
    const c = row.cells;
    row.path = r.path;
    row.style.transform = `translateY(${(table.first + i) * height}px)`;
    row.setAttribute('aria-rowindex', table.first + i + 1);
    row.setAttribute('aria-level', r.depth + 1);
    row.setAttribute('aria-selected', String(cgroups.includes(r.path)));
    if (r.kids) row.setAttribute('aria-expanded', String(!r.closed)); else row.removeAttribute('aria-expanded');
    row.classList.toggle('focused', r.path === focused);
    if (r.path === focused) active = row.id;
    c.name.style.paddingInlineStart = Math.min(r.depth, 20) + 'em';
    c.name.title = shownPath(r.path);
    setText(c.twisty, r.kids ? (r.closed ? '▸' : '▾') : '');
    setText(c.label, r.path === '' ? '/ (all)' : visible(r.name));
    for (const key of ['cpu', 'io', 'read', 'write', 'memory', 'processes']) setText(c[key], format(key, r[key]));
    if (r.whole && r.processes !== null) setText(c.processes, r.processes + ' proc.');
    spark(c.canvas, r.spark);
  });
  $('table').setAttribute('aria-rowcount', table.total);
  if (active) $('table').setAttribute('aria-activedescendant', active); else $('table').removeAttribute('aria-activedescendant');
}

let colours = {};
function readColours() {
  const css = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ['line', 'text', 'grid', 'mark-version', 'mark-fault', 'mark-drift', 'mark-oom', 'mark-other']) colours[name] = css.getPropertyValue('--' + name).trim();
}

function spark(canvas, values) {
  const width = 120, height = 20, ratio = window.devicePixelRatio || 1;
  if (canvas.offsetParent === null) return; // too narrow a screen for it
  if (canvas.width !== width * ratio) { canvas.width = width * ratio; canvas.height = height * ratio; }
  const g = canvas.getContext('2d');
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  if (!values) return;
  const most = Math.max(...values);
  if (!(most > 0)) return;
  g.strokeStyle = colours.line;
  g.beginPath();
  values.forEach((v, i) => g.lineTo(i / (values.length - 1) * (width - 2) + 1, height - 2 - v / most * (height - 4)));
  g.stroke();
}

// fit asks for the rows that are visible, and a few more.
function fit() {
  const box = $('table'), height = rowHeight(), around = 8;
  const first = Math.max(0, Math.floor(box.scrollTop / height) - around);
  tell({ type: 'window', first, count: Math.ceil(box.clientHeight / height) + 2 * around });
}
let fitting = false;
function fitSoon() {
  if (fitting) return;
  fitting = true;
  requestAnimationFrame(() => { fitting = false; fit(); });
}

function choose(path, more) {
  let list;
  if (more) list = cgroups.includes(path) ? cgroups.filter((c) => c !== path) : [...cgroups, path].slice(-8);
  else list = cgroups.length === 1 && cgroups[0] === path ? [] : [path];
  go({ cgroup: list });
}
function toggle(path) {
  go({ closed: closed.includes(path) ? closed.filter((c) => c !== path) : [...closed, path] }, { replace: true });
}

function showFocus(m) {
  moving--;
  if (m.path === undefined) return; // there are no rows
  focused = m.path;
  focusRow = m;
  const box = $('table'), height = rowHeight(), top = m.index * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
  showTable();
  fitSoon();
}
let focusRow = null, moving = 0;

// ---- the chart

let plot = null, plotted = '', events = [], chart = null;
const SERIES = ['--s0', '--s1', '--s2', '--s3', '--s4', '--s5', '--s6', '--s7'];
const MARKS = { version: 'mark-version', rejected: 'mark-fault', host_fault: 'mark-fault', drift: 'mark-drift', oom_kill: 'mark-oom', missed: 'mark-other', started: 'mark-other' };
const METRIC_TITLE = { cpu: 'CPU, percent of one core', io: 'I/O, bytes per second', memory: 'Memory' };

function showChart(m) {
  chart = m;
  const data = [m.t, ...m.series], key = JSON.stringify([m.paths, m.metric, document.documentElement.dataset.scheme]);
  if (plot && key === plotted) {
    plot.setData(data, false);
    const [from, to] = chartRange();
    plot.setScale('x', { min: from, max: to });
  } else makePlot(m, data, key);
  showMarks();
}

function chartRange() {
  const range = /^(\d+)-(\d+)$/.exec(state.range);
  if (range) return [Number(range[1]), Number(range[2])];
  const t = chart.t, now = Date.now() / 1000;
  const to = t.length ? t[t.length - 1] : now;
  return [Math.min(t.length ? t[0] : now, to - 60), to];
}

function makePlot(m, data, key) {
  plotted = key;
  if (plot) plot.destroy();
  const box = $('plot'), css = getComputedStyle(document.documentElement), axis = { stroke: colours.text, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.grid } };
  const show = (n) => format(m.metric, n);
  plot = new uPlot({
    ...plotSize(), scales: { x: { range: () => chartRange() }, y: { range: (u, min, max) => [0, max > 0 ? max * 1.05 : 1] } },
    cursor: { drag: { setScale: false }, points: { size: 5 } },
    legend: { show: true },
    axes: [
      { ...axis, values: (u, ticks) => ticks.map(clock), space: 80, size: 30 },
      { ...axis, values: (u, ticks) => ticks.map(show), size: 80 }],
    series: [{ label: 'time', value: (u, t) => (t === null ? '' : clock(t)) }, ...m.paths.map((p, i) => ({
      label: shownPath(p), stroke: css.getPropertyValue(SERIES[i % SERIES.length]).trim(), width: 1.5, points: { show: false },
      value: (u, v) => format(m.metric, v),
    }))],
    hooks: {
      draw: [drawMarks],
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const from = Math.floor(u.posToVal(u.select.left, 'x')), to = Math.ceil(u.posToVal(u.select.left + u.select.width, 'x'));
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        dragged = performance.now();
        if (to - from >= 2) go({ range: from + '-' + to });
      }],
      ready: [(u) => {
        u.over.addEventListener('click', () => {
          if (performance.now() - dragged < 300) return;
          const at = u.data[0][u.cursor.idx];
          if (at) go({ at: String(Math.round(at)), pause: '' });
        });
        u.over.addEventListener('dblclick', () => go({ range: '', at: '' }));
      }],
    },
  }, data, box);
  plot.root.setAttribute('role', 'img');
  plot.root.setAttribute('aria-label', METRIC_TITLE[m.metric] + ' over time');
}
let dragged = 0;

function plotSize() {
  const width = Math.max(200, $('plot').clientWidth), tall = window.innerHeight > 700;
  return { width, height: tall ? 190 : 130 };
}

const inRange = () => {
  const [from, to] = chartRange();
  return events.filter((e) => MARKS[e.kind] && e.at >= from - 1 && e.at <= to + 1);
};

function drawMarks(u) {
  const g = u.ctx, { left, top, width, height } = u.bbox;
  g.save();
  g.beginPath(); g.rect(left, top, width, height); g.clip();
  for (const e of inRange()) {
    const x = Math.round(u.valToPos(e.at, 'x', true));
    g.strokeStyle = colours[MARKS[e.kind]]; g.lineWidth = 2; g.setLineDash(e.kind === 'version' ? [] : [6, 4]);
    g.beginPath(); g.moveTo(x, top); g.lineTo(x, top + height); g.stroke();
  }
  if (state.at) {
    const x = Math.round(u.valToPos(Number(state.at), 'x', true));
    g.strokeStyle = colours.text; g.lineWidth = 1; g.setLineDash([]);
    g.beginPath(); g.moveTo(x, top); g.lineTo(x, top + height); g.stroke();
  }
  g.restore();
}

function showMarks() {
  const list = chart ? inRange() : [], box = $('marks');
  const key = list.length + (list.length ? list[list.length - 1].time : '');
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...list.slice(-3).map((e) => {
    const a = node('a', `${moment(e.time)} ${visible(e.text)}`);
    a.href = address('events', { kind: e.kind });
    return classed(a, 'mark ' + MARKS[e.kind]);
  }));
  if (list.length > 3) {
    const a = node('a', `and ${list.length - 3} earlier`);
    a.href = address('events');
    box.append(classed(a, 'mark'));
  }
}

function showChosen() {
  const box = $('chosen');
  box.replaceChildren(...cgroups.map((c) => {
    const b = node('button', shownPath(c) + ' ×');
    b.type = 'button';
    b.title = 'take out of the chart';
    b.addEventListener('click', () => choose(c, true));
    return b;
  }));
}

// versionAt is the version that was in force at a second, and a text that says so; null
// when not known: at its start, because that is what a slot shows. What was before the
// daemon's start is in the document's history.
function versionAt(at) {
  let found = null;
  for (const e of events) if (e.kind === 'version' && e.at <= at) found = { version: e.version, text: `version ${e.version} was in force` };
  if (found) return found;
  const v = past.find((v) => Date.parse(v.time) / 1000 <= at);
  return v ? { version: v.version, text: `version ${v.version} was the newest, ${written(v)}` } : null;
}

const written = (v) => `written ${moment(v.time)}` + (v.author ? ` by ${visible(v.author)}` : '') + (v.reason ? `: ${visible(v.reason)}` : '');

function showThen() {
  const box = $('then');
  box.replaceChildren();
  if (!state.at || !status) return;
  const then = versionAt(Number(state.at)), now = status.version.in_force;
  if (then === null) { box.textContent = 'which version was in force then is not known (before the daemon started)'; return; }
  box.append(node('span', then.text));
  if (then.version !== now) {
    const a = node('a', `what changed up to version ${now}?`);
    a.href = address('configuration', { from: String(then.version), to: String(now), edit: '' });
    box.append(' ', a);
  }
}

// past is the document's history, newest first, asked for when a view is in need of it.
let past = [], pastOf = '', pastAt = -Infinity;
async function loadPast() {
  if (tab !== 'configuration' && !state.at || !status) return;
  const now = performance.now();
  if (pastOf === documentSince && now - pastAt < 30000) return;
  pastOf = documentSince;
  pastAt = now;
  try { past = (await ask('get_history')).versions; } catch { return; } // asked again
  showThen();
  if (tab === 'configuration') showConfiguration();
}

// ---- inside a cgroup

let answers = new Map(), question = 0;
function ask(cmd, args) {
  return new Promise((resolve, reject) => {
    answers.set(++question, { resolve, reject });
    tell({ type: 'ask', id: question, cmd, args });
  });
}

let insidePath = null, insideTimer = 0, insideBefore = new Map();

function showInside() {
  const path = tab === 'usage' && cgroups.length === 1 ? cgroups[0] : null;
  $('inside').hidden = path === null;
  document.body.classList.toggle('with-inside', path !== null);
  if (path === insidePath) return;
  insidePath = path;
  clearTimeout(insideTimer);
  insideBefore = new Map();
  if (path === null) { fitSoon(); return; }
  setText($('inside-title'), 'Processes in ' + shownPath(path));
  $('inside-list').replaceChildren(node('p', 'asking …'));
  loadInside(path);
  fitSoon();
}

async function loadInside(path) {
  try {
    const reply = await ask('get_processes', { cgroup: path }), now = performance.now();
    if (path !== insidePath) return;
    const rows = reply.processes.map((p) => {
      const before = insideBefore.get(p.pid + p.started);
      return { ...p, share: before ? (p.cpu_ns - before.cpu) / (now - before.at) * 1000 : null };
    });
    insideBefore = new Map(reply.processes.map((p) => [p.pid + p.started, { cpu: p.cpu_ns, at: now }]));
    rows.sort((a, b) => (b.share ?? -1) - (a.share ?? -1) || b.cpu_ns - a.cpu_ns);
    const most = 200;
    $('inside-list').replaceChildren(list(['Process', 'Name', 'CPU', 'Memory', 'Started', 'In'], rows.slice(0, most).map((p) => {
      const a = node('a', String(p.pid));
      a.href = address('process', { pid: String(p.pid) });
      return [a, visible(p.name), p.share === null ? '…' : percent(p.share), bytes(p.rss_bytes), moment(p.started), p.cgroup === path ? '' : shownPath(p.cgroup)];
    }), rows.length === 0 ? 'no processes' : moreOf(rows.length - most + reply.more)));
  } catch (e) {
    if (path !== insidePath) return;
    $('inside-list').replaceChildren(node('p', e.message));
  }
  clearTimeout(insideTimer);
  insideTimer = setTimeout(() => loadInside(path), insideBefore.size > 0 && document.visibilityState === 'visible' ? 2000 : 5000);
}

const moreOf = (n) => (n > 0 ? `and ${n} more` : '');

// list is a table: titles, rows of texts or elements, a last line.
function list(titles, rows, last) {
  const head = node('tr', '', ...titles.map((t) => node('th', t)));
  const body = rows.map((r) => {
    const tr = node('tr', '', ...r.map((c) => (c instanceof Node ? node('td', '', c) : node('td', c))));
    if (r.bad) tr.className = 'bad';
    return tr;
  });
  const t = node('table', '', node('thead', '', head), node('tbody', '', ...body));
  const box = node('div', '', t);
  if (last) box.append(node('p', last));
  return box;
}
const bad = (row, is) => { row.bad = is; return row; };

// ---- status

let status = null;

function showStatus(s) {
  status = s;
  if (s.events) {
    events = s.events.map((e) => ({ ...e, at: Date.parse(e.time) / 1000 }));
    // The same version may be of another text, where the node was made anew.
    const since = events.findLast((e) => e.kind === 'version')?.time;
    if (since !== documentSince) { documentSince = since; documentVersion = null; diffKey = ''; }
    if (plot) plot.redraw(false);
    showMarks();
    if (tab === 'events') showEvents();
    if (tab === 'configuration') showVersions();
  }
  const v = s.version, host = s.agents?.publishing || s.host || location.hostname;
  setText($('host'), host);
  document.title = host + ' – cgrouparchd';
  setText($('version'), v.in_force < 0 ? 'no document' : `version ${v.in_force}` + (v.rejected ? `, ${v.rejected.version} rejected` : ''));
  $('version').classList.toggle('bad', v.rejected !== null || v.in_force < 0);
  $('faults').hidden = s.faults === 0;
  setText($('faults'), s.faults === 1 ? '1 host fault' : `${s.faults} host faults`);
  showThen();
  loadPast();
  if (tab === 'hosts') showHosts();
  if (tab === 'daemon') showDaemon();
  if (tab === 'process') showPidFiles();
  if (tab === 'configuration') showConfiguration();
  if (tab === 'events') showFaultsNow();
}

const KINDS = {
  '': 'all', drift: 'changed by hand', version: 'versions', rejected: 'rejected', host_fault: 'host faults', oom_kill: 'out of memory',
  pid_file: 'pid files', source: 'source', missed: 'missed seconds', redis: 'Redis', stalled: 'stalls',
};

const KIND = {
  drift: 'changed by hand', version: 'version', host_fault: 'host fault', host_fault_gone: 'host fault gone', oom_kill: 'out of memory',
  pid_file: 'pid file', missed: 'missed', redis: 'Redis', stalled: 'stall',
};

function showEvents() {
  const box = $('kinds');
  if (!box.children.length) {
    for (const [kind, title] of Object.entries(KINDS)) {
      const b = node('button', title);
      b.type = 'button';
      b.dataset.kind = kind;
      b.addEventListener('click', () => go({ kind }));
      box.append(b);
    }
  }
  for (const b of box.children) press(b, b.dataset.kind === state.kind);
  const wanted = events.filter((e) => state.kind === '' || e.kind === state.kind || e.kind === state.kind + '_gone').reverse();
  const most = 300, rows = wanted.slice(0, most).map((e) => {
    const a = node('a', moment(e.time));
    // A slot is what was at the start of its second: the first that shows a version is the next.
    const at = e.kind === 'version' ? Math.ceil(e.at) : Math.floor(e.at);
    a.href = address('usage', { at: String(at), range: `${at - 60}-${at + 60}` });
    a.title = 'usage at this time';
    let text = visible(e.text);
    if (e.kind === 'version') {
      const i = events.indexOf(e), before = events.slice(0, i).filter((x) => x.kind === 'version').pop();
      if (before) {
        const link = node('a', `what changed since version ${before.version}?`);
        link.href = address('configuration', { from: String(before.version), to: String(e.version), edit: '' });
        text = node('span', '', text + ' ', link);
      }
    }
    return bad([a, KIND[e.kind] ?? e.kind, text], ['rejected', 'host_fault', 'oom_kill', 'stalled'].includes(e.kind));
  });
  const faults = classed(node('div'), 'faults-now');
  $('events-list').replaceChildren(faults, list(['When', 'What', ''], rows, rows.length === 0 ? 'nothing of this kind since the daemon started' : moreOf(wanted.length - most)));
  showFaultsNow();
}

// showFaultsNow lists the faults that last, above their events.
function showFaultsNow() {
  const box = $('events-list').querySelector('.faults-now');
  if (!box) return;
  const key = status ? JSON.stringify(status.host_faults) + state.kind : '';
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren();
  if (!status || status.faults === 0 || !['', 'host_fault'].includes(state.kind)) return;
  box.append(node('h2', 'Host faults now'), list(['Where', 'Why'], status.host_faults.map((f) => bad([visible(f.place), visible(f.reason)], true)), moreOf(status.faults - status.host_faults.length)),
    node('h2', 'What happened'));
}

// ---- configuration

let documentVersion = null, documentSince, diffKey = '';

// versions are those that can be compared, oldest first, with what is known of each.
function versions() {
  const seen = past.map((v) => ({ version: v.version, text: v.in_force_since ? `in force from ${moment(v.in_force_since)}` + (v.reason ? `: ${visible(v.reason)}` : '') : written(v) }));
  for (const e of events) if (e.kind === 'version') seen.unshift({ version: e.version, text: `in force from ${moment(e.time)}` });
  // A number that was used twice means the later text.
  const list = [...new Map(seen.reverse().map((v) => [v.version, v])).values()];
  if (past.length > 0) { // in its order; what only the events have comes last
    const order = new Map(past.map((v, i) => [v.version, -i]).reverse());
    list.sort((a, b) => (order.get(a.version) ?? 1) - (order.get(b.version) ?? 1));
  }
  if (status && status.version.in_force >= 0 && !list.some((v) => v.version === status.version.in_force)) list.push({ version: status.version.in_force, text: '' });
  return list;
}

function showVersions() {
  const all = versions(), inForce = status?.version.in_force, key = JSON.stringify([all, inForce, state.from, state.to, state.at]);
  if ($('from').dataset.key === key || all.length === 0) return;
  $('from').dataset.key = key;
  const at = Math.max(0, all.findIndex((v) => v.version === inForce));
  // From the version of the second that is shown, else from the one before.
  const then = state.at ? versionAt(Number(state.at)) : null;
  const now = String(all[at].version), before = String(then ? then.version : all[Math.max(0, at - 1)].version);
  for (const [id, wanted] of [['from', state.from || before], ['to', state.to || now]]) {
    const options = all.slice().reverse();
    if (!options.some((v) => String(v.version) === wanted)) options.push({ version: wanted, text: '' });
    $(id).replaceChildren(...options.map((v) => {
      const o = node('option', `${v.version}` + (v.text ? `, ${v.text}` : ''));
      o.value = String(v.version);
      return o;
    }));
    $(id).value = wanted;
  }
}

let typing = 0;
function showConfiguration() {
  const opens = state.edit && $('try').hidden;
  $('try').hidden = !state.edit;
  press($('diff-all'), state.all === '1');
  if (opens) { $('try-text').focus(); fillTry(); }
  loadPast();
  if (!status || status.version.in_force < 0 && !state.edit) { setText($('diff-title'), 'no document yet'); return; }
  showVersions();
  const v = status.version;
  if (v.in_force >= 0 && documentVersion !== v.in_force) { documentVersion = v.in_force; tell({ type: 'document', version: v.in_force }); }
  const text = state.edit ? $('try-text').value : undefined;
  if (text !== undefined && text.trim() === '') { diffKey = ''; clearTimeout(typing); showDiff({ summary: '', lines: [] }); return; }
  const from = text !== undefined ? v.in_force : Number($('from').value), to = Number($('to').value), all = state.all === '1';
  const key = JSON.stringify([from, to, text, all]);
  if (key === diffKey) return;
  diffKey = key;
  clearTimeout(typing);
  // Not at every key: the daemon makes one comparison at a time.
  typing = setTimeout(() => tell({ type: 'diff', key, from, to, text, all }), text === undefined ? 0 : 250);
}

// fillTry begins an edit with what is in force; whatever is typed or pasted replaces it.
let inForceText = '';
function fillTry() {
  if (!state.edit || $('try-text').value !== '' || inForceText === '') return;
  $('try-text').value = inForceText;
  $('try-text').select();
  showConfiguration();
}

function showDiff(m) {
  if (m.key !== undefined && m.key !== diffKey) return; // of what was typed before
  if (m.again) diffKey = ''; // with the next status
  const what = m.summary === '' ? '' : !state.edit ? `From version ${$('from').value} to ${$('to').value}: ` : 'This edit: ';
  setText($('diff-title'), what + m.summary);
  setText($('diff-how'), m.here ? `The texts are compared in the browser only: ${m.here}. What this host makes of it is not known.` : '');
  $('diff').replaceChildren(...m.lines.map((l) => classed(node('span', `${l.kind || ' '} ${visible(l.text)}\n`), { '!': 'removed', '-': 'removed', '+': 'added', '~': 'changed' }[l.kind] ?? '')));
  if (m.more) $('diff').append(moreOf(m.more));
  $('diff-faults').replaceChildren(...(m.faults?.length ? [list(['Where', 'Fault'], m.faults.map((f) => bad([f.line ? goToFault(f) : '', visible(f.text)], true)), '')] : []));
  const of = [];
  if (m.warnings?.length) of.push(list(['Changed as the kernel would'], m.warnings.map((w) => [visible(w)]), moreOf(m.moreWarnings)));
  if (m.hostFaults?.length) of.push(list(['This host cannot', 'Why', ''], m.hostFaults.map((f) => bad([visible(f.place), visible(f.reason), f.new ? 'new' : 'as before'], f.new)), moreOf(m.moreHostFaults)));
  if (m.hostNotes?.length) of.push(list(['No effect on this host', 'Why'], m.hostNotes.map((f) => [visible(f.place), visible(f.reason)]), moreOf(m.moreHostNotes)));
  if (m.hostFaults && m.hostFaults.length === 0) of.push(node('p', 'This host can honour all of it.'));
  $('diff-host').replaceChildren(...of);
}

// goToFault is a place in the text that was typed. The daemon counts characters, the
// browser UTF-16 units.
function goToFault(f) {
  const place = `${f.line}:${f.column}`;
  if (!state.edit) return place;
  const b = node('button', place);
  b.type = 'button';
  b.addEventListener('click', () => {
    const lines = $('try-text').value.split('\n'), line = lines[f.line - 1] ?? '';
    const at = lines.slice(0, f.line - 1).reduce((n, l) => n + l.length + 1, 0) + [...line].slice(0, f.column - 1).join('').length;
    $('try-text').focus();
    $('try-text').setSelectionRange(at, at + 1);
  });
  return b;
}

const openTry = () => go({ edit: '1' }, { to: 'configuration' });

// ---- hosts, process, daemon

// when is a moment, of which Go's zero (in the year 1) stands for not known.
const when = (time) => (Date.parse(time) > 0 ? moment(time) : 'unknown');

function showHosts() {
  const a = status?.agents;
  if (!a || a.hosts === undefined) {
    setText($('hosts-summary'), a?.error || 'This daemon knows of no other hosts: they are known where the document comes from ZooKeeper.');
    $('hosts-list').replaceChildren();
    return;
  }
  const parts = [a.error ? `not known: ${a.error}` : a.hosts.length === 0 ? 'asking …'
    : a.everywhere ? `version ${a.version} is in force on all ${a.known} hosts` : `version ${a.version} is in force on ${a.there} of ${a.known} hosts`];
  if (a.publish_error) parts.push(`this host is not published: ${a.publish_error}`);
  setText($('hosts-summary'), parts.join('; '));
  const most = 1000;
  const key = JSON.stringify(a.hosts);
  if ($('hosts-list').dataset.key === key) return;
  $('hosts-list').dataset.key = key;
  $('hosts-list').replaceChildren(list(['Host', 'State', 'Why', 'In force', 'Host faults', 'Cgroups', 'Daemon', 'Since'], a.hosts.slice(0, most).map((h) => bad(
    [visible(h.host), h.state, visible(h.why ?? ''), String(h.in_force), h.host_faults ? `${h.host_faults}: ${visible(h.host_fault ?? '')}` : '', h.layout ?? '', h.daemon_version ?? '', when(h.since)],
    h.state !== 'ok')), moreOf(a.hosts.length - most)));
}

async function showProcess() {
  if ($('pid').value !== state.pid && document.activeElement !== $('pid')) $('pid').value = state.pid;
  showPidFiles();
  const box = $('process-answer');
  if (!/^\d+$/.test(state.pid)) { box.replaceChildren(); return; }
  const pid = state.pid;
  try {
    const p = await ask('get_process', { pid: Number(pid) });
    if (pid !== state.pid) return;
    box.replaceChildren(node('h2', `${p.pid} ${visible(p.name)}`),
      node('p', `child of ${p.ppid}, started ${moment(p.started)}, ${p.threads} threads, CPU time ${(p.cpu_ns / 1e9).toFixed(2)} s, memory ${bytes(p.rss_bytes)}`),
      list(['Subsystem', 'Is in', 'Belongs in', 'Why'], p.places.map((x) => bad([x.subsystem, shownPath(x.is), x.belongs === null ? 'nowhere in particular' : shownPath(x.belongs), visible(x.why)], !x.ok)), ''));
  } catch (e) { if (pid === state.pid) box.replaceChildren(node('p', e.message)); }
}

function showPidFiles() {
  if (!status) return;
  const key = JSON.stringify(status.pid_files);
  if ($('pid-files').dataset.key === key) return;
  $('pid-files').dataset.key = key;
  $('pid-files').replaceChildren(list(['File', 'Cgroup', 'State', 'Process'], status.pid_files.map((f) => {
    let pid = '';
    if (f.pid) { pid = node('a', String(f.pid)); pid.href = address('process', { pid: String(f.pid) }); }
    return bad([visible(f.file), shownPath(f.cgroup), f.state + (f.reason ? ': ' + visible(f.reason) : ''), pid], f.state !== 'ok');
  }), status.pid_files.length === 0 ? 'no pid files are configured' : moreOf(status.more_pid_files)));
}

function showDaemon() {
  if (!status) return;
  const s = status, rows = [], add = (title, text, is) => rows.push(bad([title, text], is));
  const started = events.find((e) => e.kind === 'started'), up = started ? Date.parse(s.now) / 1000 - started.at : 0;
  add('Version', s.daemon_version);
  if (started) add('Running since', moment(started.time));
  if (s.cost) {
    for (const [key, value] of Object.entries(s.cost)) {
      if (!key.endsWith('_seconds')) continue;
      const part = key.slice(0, -8), title = part === 'cpu' ? 'CPU time in all' : `… ${part}`;
      add(title, (value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`) + (up > 1 ? `, ${(value / up * 100).toFixed(2)} % of a core on average` : ''));
    }
    if (s.cost.rss_bytes) add('Memory', bytes(s.cost.rss_bytes));
  }
  add('Last sample', `slot ${s.sampler.last_slot}, begun ${s.sampler.late_us} µs late, took ${s.sampler.duration_us} µs`);
  add('Missed seconds', String(s.missed_slots), s.missed_slots > 0);
  add('Last pass', s.last_pass ? `${moment(s.last_pass.began)}, took ${(s.last_pass.duration_ns / 1e6).toFixed(1)} ms` : 'none yet', !s.last_pass);
  add('Passes', String(s.passes));
  add('Changes by others, put back', String(s.drift_corrections));
  const source = s.zookeeper || s.conf_file;
  add(s.zookeeper ? 'ZooKeeper' : 'Document', `${source.path}: ${source.state}` + (source.error ? ': ' + source.error : ''), source.state !== 'connected');
  if (s.redis) add('Redis', s.redis.connected ? `${s.redis.address}: ${s.redis.written} slots written, ${s.redis.lost} lost` : `${s.redis.address}: ${s.redis.error}`, !s.redis.connected);
  else add('Redis', 'none: history is kept in memory only');
  add('Our root', s.cgroup_root);
  for (const h of s.hierarchies) add('Hierarchy ' + h.name, `cgroup v${h.cgroup_version} at ${h.mount}: ${h.subsystems.join(', ')}` + (h.use ? ` (${h.use})` : ', not used'));
  $('daemon-list').replaceChildren(list(['', ''], rows, ''));
}

// ---- messages of the worker

let note = '';
function showState(text, name) {
  setText($('state'), text);
  $('state').dataset.state = name;
}
const receive = {
  state(m) {
    note = '';
    if (m.state === 'live') showState('live', 'live');
    else if (m.state === 'lost') showState('no connection, trying again', 'lost');
    else showState(m.text, 'lost');
  },
  table(m) {
    const other = table.tasks !== m.tasks;
    table = m;
    if (other) showColumns();
    if ($('state').dataset.state !== 'lost') showState(note || (state.at ? 'as of ' + clock(m.slot) : state.pause ? 'paused at ' + clock(m.slot) : 'live, ' + clock(m.slot)), note || state.at || state.pause ? 'still' : 'live');
    showTable();
  },
  chart: showChart,
  status: (m) => showStatus(m.status),
  focus: showFocus,
  note(m) { note = m.text; },
  diff: showDiff,
  document(m) {
    setText($('document'), visible2(m.text) + (m.more ? `\n… and ${m.more} characters more` : ''));
    inForceText = m.more || m.error ? '' : m.text;
    fillTry();
  },
  answer(m) {
    const a = answers.get(m.id);
    answers.delete(m.id);
    if (m.error !== undefined) a.reject(new Error(m.error)); else a.resolve(m.reply);
  },
};
const visible2 = (text) => text.split('\n').map(visible).join('\n');
worker.onmessage = (e) => receive[e.data.type](e.data);

// ---- what people do

// secondOf reads "03:12:07", the last time that a clock showed it, with or without
// a date before it. 0: it is nothing of the kind.
function secondOf(text) {
  const m = /^(?:(\d{4})-(\d\d?)-(\d\d?)[ T]+)?(\d\d?):(\d\d)(?::(\d\d))?$/.exec(text.trim());
  if (!m) return 0;
  const d = new Date();
  if (m[1]) d.setFullYear(Number(m[1]), Number(m[2]) - 1, Number(m[3]));
  d.setHours(Number(m[4]), Number(m[5]), Number(m[6] || 0), 0);
  if (!m[1] && d > Date.now()) d.setDate(d.getDate() - 1);
  return Math.floor(d / 1000);
}

function goTo(text) {
  note = '';
  const at = secondOf(text);
  $('at').setCustomValidity(at || !text.trim() ? '' : 'hh:mm:ss');
  if ($('at').reportValidity()) go({ at: at ? String(at) : '', pause: '' });
}

$('filter').addEventListener('input', () => { $('table').scrollTop = 0; go({ filter: $('filter').value }, { replace: true }); });
$('at').addEventListener('change', () => goTo($('at').value));
$('at').addEventListener('input', () => $('at').setCustomValidity(''));
$('bar').addEventListener('submit', (e) => {
  e.preventDefault();
  goTo($('at').value);
  if ($('at').validity.valid) $('table').focus(); // the next key is a command again
});
$('live').addEventListener('click', () => { note = ''; go({ at: '', pause: '' }); });
const pause = () => go({ pause: state.pause === '1' ? '' : '1' }, { replace: true });
$('pause').addEventListener('click', pause);
const flat = () => go({ flat: state.flat === '1' ? '' : '1' }, { replace: true });
$('flat').addEventListener('click', flat);
for (const b of document.querySelectorAll('[data-metric]')) b.addEventListener('click', () => { if (state.sort !== b.dataset.metric) sortBy(b.dataset.metric); });
$('unzoom').addEventListener('click', () => go({ range: '' }));
$('table').addEventListener('scroll', fitSoon, { passive: true });
$('inside-close').addEventListener('click', () => go({ cgroup: [] }));
$('from').addEventListener('change', () => go({ from: $('from').value, to: $('to').value, edit: '' }));
$('to').addEventListener('change', () => go({ from: $('from').value, to: $('to').value, edit: '' }));
$('try-open').addEventListener('click', openTry);
$('diff-all').addEventListener('click', () => go({ all: state.all === '1' ? '' : '1' }, { replace: true }));
$('try-text').addEventListener('input', showConfiguration);
$('ask-process').addEventListener('submit', (e) => { e.preventDefault(); go({ pid: $('pid').value.trim() }); });
$('help-open').addEventListener('click', help);

const KEYS = [
  ['1 … 6', 'the views'], ['/', 'filter'], ['g', 'go to a time: what it was like then'], ['l', 'live again'],
  ['c i r w m n p', 'sort by CPU, I/O, read, write, memory, name, processes; again: the other way round'],
  ['↑ ↓ PgUp PgDn Home End', 'row by row'], ['← →', 'close and open a part of the tree'],
  ['Enter', 'show the row in the chart, and its processes'], ['Space', 'add the row to the chart'], ['t', 'tree or flat'],
  ['z', 'stop and go on (pause)'], ['u', 'whole history (end of zoom)'],
  ['d', 'what was changed by hand'], ['e', 'what would an edit do'], ['Escape', 'leave a field, nothing chosen'],
];
function help() {
  if (!$('help-keys').children.length) for (const [keys, what] of KEYS) $('help-keys').append(node('tr', '', node('th', keys), node('td', what)));
  $('help').showModal();
}

// Keys may come faster than answers: each move begins where the one before ends.
const move = (by) => { tell({ type: 'move', from: moving > 0 ? null : focused, by }); moving++; };
const page = () => Math.max(1, Math.floor($('table').clientHeight / rowHeight()) - 1);
const SORTS = { c: 'cpu', i: 'io', r: 'read', w: 'write', m: 'memory', n: 'name', p: 'processes' };
const keys = {
  '/': () => { go({}, { to: 'usage' }); $('filter').focus(); },
  g: () => { go({}, { to: 'usage' }); $('at').focus(); },
  l: () => { note = ''; go({ at: '', pause: '' }, { to: 'usage' }); },
  t: flat, z: pause, '?': help,
  u: () => go({ range: '' }),
  d: () => go({ kind: 'drift' }, { to: 'events' }),
  e: openTry,
  ArrowDown: () => move(1), ArrowUp: () => move(-1), PageDown: () => move(page()), PageUp: () => move(-page()), Home: () => move(-1e9), End: () => move(1e9),
  ArrowLeft: () => { if (focusRow?.kids && !closed.includes(focused)) toggle(focused); else if (focusRow?.parent !== null && focusRow) { focused = focusRow.parent; move(0); } },
  ArrowRight: () => { if (closed.includes(focused)) toggle(focused); },
  Enter: () => choose(focused, false), ' ': () => choose(focused, true),
  Escape: () => { if (cgroups.length) go({ cgroup: [] }); },
};
// openTab is a view by its key: where the next thing is to type a number, one can.
function openTab(name) {
  go({}, { to: name });
  if (name === 'process') { $('pid').focus(); $('pid').select(); }
}
document.addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || $('help').open) return;
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
  if (typing) {
    if (e.key === 'Escape' || e.key === 'Enter' && e.target.id === 'filter') { e.target.blur(); $('table').focus(); }
    return;
  }
  if ((e.key === 'Enter' || e.key === ' ') && e.target.closest('button, a')) return;
  if (/^[1-6]$/.test(e.key)) { e.preventDefault(); openTab(TABS[Number(e.key) - 1]); return; }
  if (tab === 'usage' && SORTS[e.key]) { e.preventDefault(); sortBy(SORTS[e.key]); return; }
  const f = keys[e.key];
  if (!f || tab !== 'usage' && /^(Arrow|Page|Home|End|Enter| $|t$|z$|u$)/.test(e.key)) return;
  e.preventDefault();
  f();
});

window.addEventListener('hashchange', apply);
window.addEventListener('popstate', apply);
document.addEventListener('visibilitychange', () => tell({ type: 'hidden', hidden: document.hidden }));
new ResizeObserver(() => { if (plot && plot.width !== plotSize().width) plot.setSize(plotSize()); fitSoon(); }).observe(document.body);
new ResizeObserver(fitSoon).observe($('table'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (e) => {
  document.documentElement.dataset.scheme = e.matches ? 'dark' : 'light';
  readColours();
  showTable();
  if (chart) showChart(chart);
});

// The browser's first layout comes before ours, each in a task of its own.
requestAnimationFrame(() => setTimeout(() => {
  readColours();
  showColumns();
  setTimeout(() => {
    apply();
    if (location.hash === '') history.replaceState(null, '', '#/usage');
  });
}));
