// The page shows what the worker sends. Here is what is shown when, and what people do.

import { address, cgroups, closed, go, onChange, readAddress, state, tab, TABS } from './address.js';
import { fitChart, showAgain, showChart, showChosen, showNews, showThen } from './chart.js';
import { forget, openTry, showConfiguration, showDiff, showVersions, takeDocument } from './configuration.js';
import { showDaemon, showHosts, showPidFiles, showProcess } from './daemon.js';
import { $, node, press, readColours, setText } from './elements.js';
import { showEvents, showFaultsNow } from './events.js';
import { showInside } from './inside.js';
import { learn, loadPast } from './known.js';
import { answered, receive, tell } from './link.js';
import { clock, moment, secondOf } from './numbers.js';
import { chooseFocused, fit, fitSoon, fold, move, page, showColumns, showFocus, showTable, sortBy, takeTable, unfold } from './table.js';

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
  showPast();
  if (tab === 'events') showEvents();
  if (tab === 'configuration') showConfiguration();
  if (tab === 'process') showProcess();
  if (tab === 'hosts') showHosts();
  if (tab === 'daemon') showDaemon();
  if (tab === 'usage') requestAnimationFrame(fit);
}
onChange(apply);

function showStatus(s) {
  if (learn(s)) forget();
  if (s.events) {
    showNews();
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
  showPast();
  if (tab === 'hosts') showHosts();
  if (tab === 'daemon') showDaemon();
  if (tab === 'process') showPidFiles();
  if (tab === 'configuration') showConfiguration();
  if (tab === 'events') showFaultsNow();
}

// showPast asks for the document's history when a view is in need of it.
async function showPast() {
  if (tab !== 'configuration' && !state.at || !await loadPast()) return;
  showThen();
  if (tab === 'configuration') showConfiguration();
}

// ---- messages of the worker

let note = '';
function showState(text, name) {
  setText($('state'), text);
  $('state').dataset.state = name;
}
receive({
  state(m) {
    note = '';
    if (m.state === 'live') showState('live', 'live');
    else if (m.state === 'lost') showState('no connection, trying again', 'lost');
    else showState(m.text, 'lost');
  },
  table(m) {
    if ($('state').dataset.state !== 'lost') showState(note || (state.at ? 'as of ' + clock(m.slot) : state.pause ? 'paused at ' + clock(m.slot) : 'live, ' + clock(m.slot)), note || state.at || state.pause ? 'still' : 'live');
    takeTable(m);
  },
  chart: showChart,
  status: (m) => showStatus(m.status),
  focus: showFocus,
  note(m) { note = m.text; },
  diff: showDiff,
  document: takeDocument,
  answer: answered,
});

// ---- what people do

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
  ArrowLeft: fold,
  ArrowRight: unfold,
  Enter: () => chooseFocused(false), ' ': () => chooseFocused(true),
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
new ResizeObserver(() => { fitChart(); fitSoon(); }).observe(document.body);
new ResizeObserver(fitSoon).observe($('table'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (e) => {
  document.documentElement.dataset.scheme = e.matches ? 'dark' : 'light';
  readColours();
  showTable();
  showAgain();
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
