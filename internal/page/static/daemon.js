// Hosts, one process, the daemon itself.

import { address, state } from './address.js';
import { $, bad, list, moreOf, node, setText, shownPath, visible } from './elements.js';
import { events, status } from './known.js';
import { ask } from './link.js';
import { bytes, moment, when } from './numbers.js';

export function showHosts() {
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

export async function showProcess() {
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

export function showPidFiles() {
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

export function showDaemon() {
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
