// The processes inside the cgroup that is chosen.

import { address, cgroups, tab } from './address.js';
import { $, list, moreOf, node, setText, shownPath, visible } from './elements.js';
import { ask } from './link.js';
import { bytes, moment, percent } from './numbers.js';
import { fitSoon } from './table.js';

let insidePath = null, insideTimer = 0, insideBefore = new Map();

export function showInside() {
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
