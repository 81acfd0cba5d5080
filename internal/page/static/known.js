// What the daemon has said: its status, what has happened, the history of the document.

import { visible } from './elements.js';
import { ask } from './link.js';
import { moment } from './numbers.js';

export let status = null, events = [];
let documentSince;

// learn takes a status, and says whether the document is another one than before.
export function learn(s) {
  status = s;
  if (!s.events) return false;
  events = s.events.map((e) => ({ ...e, at: Date.parse(e.time) / 1000 }));
  // The same version may be of another text, where the node was made anew.
  const since = events.findLast((e) => e.kind === 'version')?.time, other = since !== documentSince;
  documentSince = since;
  return other;
}

// past is the document's history, newest first.
let past = [], pastOf = '', pastAt = -Infinity;

// loadPast asks for it, not too often, and says whether it has been read.
export async function loadPast() {
  if (!status) return false;
  const now = performance.now();
  if (pastOf === documentSince && now - pastAt < 30000) return false;
  pastOf = documentSince;
  pastAt = now;
  try { past = (await ask('get_history')).versions; } catch { return false; } // asked again
  return true;
}

const written = (v) => `written ${moment(v.time)}` + (v.author ? ` by ${visible(v.author)}` : '') + (v.reason ? `: ${visible(v.reason)}` : '');

// versionAt is the version that was in force at a second, and a text that says so; null
// when not known: at its start, because that is what a slot shows. What was before the
// daemon's start is in the document's history.
export function versionAt(at) {
  let found = null;
  for (const e of events) if (e.kind === 'version' && e.at <= at) found = { version: e.version, text: `version ${e.version} was in force` };
  if (found) return found;
  const v = past.find((v) => Date.parse(v.time) / 1000 <= at);
  return v ? { version: v.version, text: `version ${v.version} was the newest, ${written(v)}` } : null;
}

// versions are those that can be compared, oldest first, with what is known of each.
export function versions() {
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
