// Elements of the page. Whatever comes from the daemon is set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

// node makes an element: its text, its children.
export function node(tag, text, ...children) {
  const e = document.createElement(tag);
  if (text !== null && text !== undefined && text !== '') e.textContent = text;
  e.append(...children);
  return e;
}
export const classed = (e, name) => { e.className = name; return e; };
export const setText = (e, text) => { if (e.textContent !== text) e.textContent = text; };
export const press = (button, on) => button.setAttribute('aria-pressed', String(on));

// visible spells out characters that would make a name look like another one:
// marks of writing direction, what has no width.
export const visible = (name) => name.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
  (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
export const shownPath = (path) => (path === '' ? '/' : visible(path));
export const visible2 = (text) => text.split('\n').map(visible).join('\n');

// list is a table: titles, rows of texts or elements, a last line.
export function list(titles, rows, last) {
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
export const bad = (row, is) => { row.bad = is; return row; };
export const moreOf = (n) => (n > 0 ? `and ${n} more` : '');

// colours are those of the stylesheet that what is drawn needs.
export let colours = {};
export function readColours() {
  const css = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ['line', 'text', 'grid', 'mark-version', 'mark-fault', 'mark-drift', 'mark-oom', 'mark-other']) colours[name] = css.getPropertyValue('--' + name).trim();
}
