// The table of cgroups: of all rows, those that are visible.

import { cgroups, choose, closed, go, state, toggle } from './address.js';
import { $, classed, colours, node, setText, shownPath, visible } from './elements.js';
import { tell } from './link.js';
import { format } from './numbers.js';

const COLUMNS = [['name', 'Cgroup'], ['cpu', 'CPU'], ['io', 'I/O'], ['read', 'Read'], ['write', 'Write'], ['memory', 'Memory'], ['processes', 'Processes'], ['spark', '']];
const pool = []; // rows in use, from the first that is visible
let table = { tasks: false, total: 0, first: 0, rows: [], slot: 0, all: 0, spark: 'cpu' };
let focused = '', focusRow = null, moving = 0;
const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'));

export function showColumns() {
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

export function sortBy(key) {
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

export function takeTable(m) {
  const other = table.tasks !== m.tasks;
  table = m;
  if (other) showColumns();
  showTable();
}

export function showTable() {
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
export function fit() {
  const box = $('table'), height = rowHeight(), around = 8;
  const first = Math.max(0, Math.floor(box.scrollTop / height) - around);
  tell({ type: 'window', first, count: Math.ceil(box.clientHeight / height) + 2 * around });
}
let fitting = false;
export function fitSoon() {
  if (fitting) return;
  fitting = true;
  requestAnimationFrame(() => { fitting = false; fit(); });
}

export function showFocus(m) {
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

// Keys may come faster than answers: each move begins where the one before ends.
export const move = (by) => { tell({ type: 'move', from: moving > 0 ? null : focused, by }); moving++; };
export const page = () => Math.max(1, Math.floor($('table').clientHeight / rowHeight()) - 1);

// fold closes the row in focus, or goes to the one above it; unfold opens it.
export function fold() {
  if (focusRow?.kids && !closed.includes(focused)) toggle(focused);
  else if (focusRow?.parent !== null && focusRow) { focused = focusRow.parent; move(0); }
}
export function unfold() { if (closed.includes(focused)) toggle(focused); }
export const chooseFocused = (more) => choose(focused, more);
