// The chart: usage of what is chosen, over the time that is held.

import { address, cgroups, choose, go, state } from './address.js';
import { $, classed, colours, node, shownPath, visible } from './elements.js';
import { events, status, versionAt } from './known.js';
import { clock, format, moment } from './numbers.js';

let plot = null, plotted = '', chart = null;
const SERIES = ['--s0', '--s1', '--s2', '--s3', '--s4', '--s5', '--s6', '--s7'];
const MARKS = { version: 'mark-version', rejected: 'mark-fault', host_fault: 'mark-fault', drift: 'mark-drift', oom_kill: 'mark-oom', missed: 'mark-other', started: 'mark-other' };
const METRIC_TITLE = { cpu: 'CPU, percent of one core', io: 'I/O, bytes per second', memory: 'Memory' };

export function showChart(m) {
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
let dragged = -Infinity; // so that a click soon after the page was loaded counts

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

// showNews shows what has happened since.
export function showNews() {
  if (plot) plot.redraw(false);
  showMarks();
}

export function showAgain() { if (chart) showChart(chart); }
export function fitChart() { if (plot && plot.width !== plotSize().width) plot.setSize(plotSize()); }

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

export function showChosen() {
  const box = $('chosen');
  box.replaceChildren(...cgroups.map((c) => {
    const b = node('button', shownPath(c) + ' ×');
    b.type = 'button';
    b.title = 'take out of the chart';
    b.addEventListener('click', () => choose(c, true));
    return b;
  }));
}

// showThen says which version the second has that is shown.
export function showThen() {
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
