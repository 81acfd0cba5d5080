// What has happened, and the faults that last.

import { address, go, state } from './address.js';
import { $, bad, classed, list, moreOf, node, press, visible } from './elements.js';
import { events, status } from './known.js';
import { moment } from './numbers.js';

const KINDS = {
  '': 'all', drift: 'changed by hand', version: 'versions', rejected: 'rejected', host_fault: 'host faults', oom_kill: 'out of memory',
  pid_file: 'pid files', source: 'source', missed: 'missed seconds', redis: 'Redis', stalled: 'stalls',
};

const KIND = {
  drift: 'changed by hand', version: 'version', host_fault: 'host fault', host_fault_gone: 'host fault gone', oom_kill: 'out of memory',
  pid_file: 'pid file', missed: 'missed', redis: 'Redis', stalled: 'stall',
};

export function showEvents() {
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
export function showFaultsNow() {
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
