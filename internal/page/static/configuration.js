// The document: what is different from one version to another, or would be after an edit.

import { go, state } from './address.js';
import { $, bad, classed, list, moreOf, node, press, setText, visible, visible2 } from './elements.js';
import { status, versionAt, versions } from './known.js';
import { tell } from './link.js';

let documentVersion = null, diffKey = '';

// forget: the document is another one, also where it has the same version.
export function forget() { documentVersion = null; diffKey = ''; }

export function showVersions() {
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
export function showConfiguration() {
  const opens = state.edit && $('try').hidden;
  $('try').hidden = !state.edit;
  press($('diff-all'), state.all === '1');
  if (opens) { $('try-text').focus(); fillTry(); }
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
export function takeDocument(m) {
  setText($('document'), visible2(m.text) + (m.more ? `\n… and ${m.more} characters more` : ''));
  inForceText = m.more || m.error ? '' : m.text;
  fillTry();
}
function fillTry() {
  if (!state.edit || $('try-text').value !== '' || inForceText === '') return;
  $('try-text').value = inForceText;
  $('try-text').select();
  showConfiguration();
}

export function showDiff(m) {
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

export const openTry = () => go({ edit: '1' }, { to: 'configuration' });
