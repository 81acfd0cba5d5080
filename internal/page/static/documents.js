// The worker's part about documents: what is in force, and what becomes different from
// one to another. The daemon says that, because it knows what its host can do; where it
// cannot be asked, their texts are compared here.
'use strict';

const documents = new Map(); // version → document, of those that were shown

async function documentOf(version) {
  if (!documents.has(version)) documents.set(version, (await ask('get_conf', { version })).value);
  return documents.get(version);
}

// A request has at most 64 KiB (docs/websocket.md, Limits).
const MOST = 65536;
const fits = (cmd, args) => new TextEncoder().encode(JSON.stringify({ cmd, args })).length <= MOST;

let asked = 0; // of several comparisons the last one counts

// diff answers the page: what becomes different from one version to another, or to a
// text. all: every line.
async function diff(m) {
  const turn = ++asked;
  const answer = (d) => { if (turn === asked) post({ type: 'diff', key: m.key, ...d }); };
  const args = m.text === undefined ? { from: m.from, to: m.to, verbose: m.all } : { document: m.text, verbose: m.all };
  const lost = !questions.open; // then it is asked again once there is a connection
  const here = m.text !== undefined && !fits('compare', args) ? 'it is larger than 64 KiB; cgrouparchd conf diff FILE knows more' : lost ? 'there is no connection' : '';
  if (here === '') {
    try {
      const c = await ask('compare', args);
      answer({
        summary: c.summary, lines: c.changes, more: c.more_changes, faults: c.faults, warnings: c.warnings, moreWarnings: c.more_warnings,
        hostFaults: c.host_faults, moreHostFaults: c.more_host_faults, hostNotes: c.host_notes, moreHostNotes: c.more_host_notes,
      });
    } catch (e) { answer({ ...nothing, summary: e.message, error: true, again: e.code === undefined || e.code === 'busy' }); }
    return;
  }
  try {
    const before = await documentOf(m.from), after = m.text === undefined ? await documentOf(m.to) : JSON.parse(m.text);
    answer({ ...nothing, ...difference(before, after), here, again: lost });
  } catch (e) { answer({ ...nothing, summary: e.message, error: true, here, again: lost }); }
}
const nothing = { lines: [], more: 0, faults: [], warnings: [], moreWarnings: 0, hostFaults: null, moreHostFaults: 0, hostNotes: null, moreHostNotes: 0 };

// flat is a document as a map of "cpu:/a/b" to settings.
function flat(document) {
  const out = new Map();
  if (document === null || typeof document !== 'object' || Array.isArray(document)) throw new Error('a document is an object of subsystems');
  for (const subsystem of Object.keys(document)) {
    const walk = (node, path) => {
      node = node || {};
      out.set(subsystem + ':' + (path || '/'), node.conf || null);
      for (const name of Object.keys(node.sub_cgroup || {})) walk(node.sub_cgroup[name], path + '/' + name);
    };
    walk(document[subsystem], '');
  }
  return out;
}

// difference lists what comes of an edit: what is removed first.
function difference(before, after) {
  const a = flat(before), b = flat(after), removed = [], added = [], changed = [];
  const text = (conf) => Object.keys(conf || {}).sort().map((k) => ` ${k}=${JSON.stringify(conf[k])}`).join('');
  for (const key of a.keys()) if (!b.has(key)) removed.push('- ' + key);
  for (const [key, conf] of b) {
    if (!a.has(key)) { added.push('+ ' + key + text(conf)); continue; }
    const old = a.get(key) || {}, now = conf || {};
    for (const k of [...new Set([...Object.keys(old), ...Object.keys(now)])].sort()) {
      const x = JSON.stringify(old[k]), y = JSON.stringify(now[k]);
      if (x === y) continue;
      changed.push(`~ ${key} ${k}: ${x === undefined ? 'not set' : x} → ${y === undefined ? 'not set' : y}`);
    }
    if ((a.get(key) === null) !== (conf === null)) changed.push(`~ ${key} ${conf === null ? 'takes no processes any more' : 'takes processes'}`);
  }
  // A subsystem that is new is ours from then on; one that has left is not touched further.
  const taken = Object.keys(after).filter((x) => before[x] === undefined).map((x) => `! ${x} is named for the first time: cgroups of others below our root there are removed`);
  const left = Object.keys(before).filter((x) => after[x] === undefined).map((x) => `! ${x} leaves the document: only cgroups that the daemon made are removed`);
  const lines = [...taken, ...left, ...removed.sort(), ...added.sort(), ...changed.sort()], most = 500;
  return {
    summary: lines.length === 0 ? 'no difference' : `${removed.length} removed, ${added.length} added, ${changed.length} settings changed`,
    lines: lines.slice(0, most).map((l) => ({ kind: l[0], text: l.slice(2) })), more: Math.max(0, lines.length - most),
  };
}
