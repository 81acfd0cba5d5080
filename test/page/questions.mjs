// The ten questions of docs/operations.md: each from the start screen, in at most three keys or clicks. What is typed as an
// answer (a time, a number, a text) does not count. The host is that of TestPageQuestions.
import { open, until, request, done, table, url, shots, assert } from './lib.mjs';

const [beforeStart, stray] = process.argv.slice(4); // a second when version 0 was the newest, and a process whose pid file is refused
const b = await open();
const p = await b.page();
const text = (selector) => p.textContent(selector);
const percent = (cell) => parseFloat(cell) || 0;
const first = async () => Object.entries(await table(p)).find(([, r]) => r.level === 2)[0];
const clock = (t) => new Date(t * 1000).toTimeString().slice(0, 8);

let steps = 0;
const press = async (key) => { steps++; await p.keyboard.press(key); };
const type = (what) => p.keyboard.insertText(what);
const click = async (...where) => { steps++; await p.click(...where); };

// question answers one from the start screen; what has to happen before it is no step.
async function question(what, answer) {
  await p.goto('about:blank');
  await p.goto(url + '/');
  await until('the start screen', async () => /^live/.test(await text('#state')) && (await text('#version')).startsWith('version') && Object.keys(await table(p)).length > 4);
  steps = 0;
  try { await answer(); } catch (e) { // what is there instead of the answer
    await p.screenshot({ path: `${shots}/q-failed.png` });
    console.log((await text('main > section:not([hidden])')).replace(/\s+/g, ' ').slice(0, 2000));
    throw e;
  }
  assert.ok(steps <= 3, `${what}: ${steps} steps`);
  await p.screenshot({ path: `${shots}/q-${what.replace(/\W+/g, '-')}.png` });
  done(`${steps} steps: ${what}`);
}

await request('busy');
await question('who eats the CPU now', () => until('a', async () => await first() === 'a' && percent((await table(p)).a.cpu) > 1));
const then = Math.floor(Date.now() / 1000) + 1; // from the start of the next second on it is busy all the time
await question('who eats the disk now', async () => { await press('i'); await until('disk', async () => await first() === 'disk' && /[1-9].*iB\/s/.test((await table(p)).disk.write)); });
await question('who eats the memory now', async () => { await press('m'); await until('holder', async () => await first() === 'holder' && /MiB/.test((await table(p)).holder.memory)); });

await until('a second that is over, in which a was busy', async () => Date.now() / 1000 > then + 2);
await question('who did at a second', async () => {
  await press('g'); await type(clock(then)); await press('Enter');
  await until('as of then', async () => (await text('#state')) === 'as of ' + clock(then) && await first() === 'a' && percent((await table(p)).a.cpu) > 1);
});
await question('which process inside that cgroup', async () => {
  await click('.label:text-is("a")');
  await until('it', async () => (await p.locator('#inside-list tbody tr td').allTextContents())[1] === 'sh');
});

// ---- versions: 0 and 1 are from before the daemon's start, 2 comes now
const before2 = Math.floor(Date.now() / 1000) - 2;
await request('edit');
await until('version 2', async () => (await text('#version')) === 'version 2');
const change = '~ cpu:/b share 200 -> 300';
await question('which version was in force then', async () => {
  await press('g'); await type(clock(before2)); await press('Enter');
  await until('version 1', async () => (await text('#then')).startsWith('version 1 was in force'));
});
await question('which version was it before the daemon started', async () => {
  await press('g'); await type(clock(Number(beforeStart))); await press('Enter');
  await until('version 0', async () => /^version 0 was the newest, written \S+ by \S+: edit 0/.test(await text('#then')));
});
await question('what changed between then and now', async () => {
  await press('g'); await type(clock(Number(beforeStart))); await press('Enter');
  await press('3');
  await until('since then', async () => (await text('#diff')).includes('~ cpu:/b share 100 -> 300') && (await text('#diff-title')).startsWith('From version 0 to 2: '));
});
await question('what changed last', async () => {
  await press('3');
  await until('since the version before', async () => (await text('#diff')).includes(change) && (await text('#diff-title')).startsWith('From version 1 to 2: '));
});
await question('what changed since a second in the chart', async () => {
  await until('the chart', async () => (await p.locator('.u-over').count()) === 1 && /version 2/.test(await text('#marks')));
  await click('.u-over', { position: { x: 3, y: 40 } }); // the left edge: before version 2
  await until('version 1 then', async () => (await text('#then')).startsWith('version 1 was in force'));
  await click('#then a');
  await until('the change', async () => (await text('#diff')).includes(change));
});
await question('what changed since before the daemon started', async () => {
  await press('3');
  await until('the history', async () => /written .*: edit 0/.test(await text('#from')));
  steps++; // opens the list
  steps++;
  await p.selectOption('#from', '0');
  await until('all of it', async () => (await text('#diff')).includes('~ cpu:/b share 100 -> 300'));
});
await question('what would this edit do', async () => {
  await press('e');
  await until('what is in force to begin with', async () => (await p.inputValue('#try-text')).includes('"share": 300'));
  await type('{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 1}}}}, "nosuch": {}}');
  await until('it', async () => (await text('#diff-title')).startsWith('This edit: removes') && (await text('#diff')).includes('~ cpu:/a share 500 -> 2') && /share: 1 raised to 2.*nosuch/.test(await text('#diff-host')));
});

await question('which hosts lag behind, and why', async () => {
  await press('4');
  await until('the other', async () => { const rows = await p.locator('#hosts-list tbody tr.bad').allTextContents(); return rows.length === 1 && /^absent(behind|other).*version/.test(rows[0]); });
});
await question('why is this process not in its cgroup', async () => {
  await press('5'); await type(stray); await press('Enter');
  await until('why', async () => /stray\.pid.*refused/.test(await text('#process-answer')));
});
await request('drift');
await question('what did somebody change by hand', async () => { await press('d'); await until('it', async () => /put back: write cpu:\S*\/b\/cpu\.\S+ /.test(await text('#events-list'))); });

await question('what does the daemon itself cost', async () => {
  await press('6');
  await until('its parts', async () => /CPU time in all/.test(await text('#daemon-list')));
  const ask = () => p.evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket('ws://' + location.host + '/');
    socket.onopen = () => socket.send('{"cmd":"get_status"}');
    socket.onmessage = (e) => { resolve(JSON.parse(e.data).cost); socket.close(); };
  }));
  const shown = async (title) => {
    const [, n, unit] = /^([\d.]+) (m?s)/.exec(await p.locator('#daemon-list tr', { hasText: title }).locator('td').nth(1).textContent());
    return Number(n) / (unit === 'ms' ? 1000 : 1);
  };
  for (const [title, part] of [['CPU time in all', 'cpu_seconds'], ['… sampler', 'sampler_seconds'], ['… reconciler', 'reconciler_seconds']]) {
    await until(title, async () => { const [now, page] = [(await ask())[part], await shown(title)]; return page > 0 && page <= now + 0.01; });
  }
});

// ---- beside the questions: a real kill for want of memory is on the time line
await p.goto(url + '/');
await until('live', async () => /^live/.test(await text('#state')));
let seen = '';
await until('its column', async () => (await text('#columns .processes')) === 'Tasks'); // the document names pids
await until('tasks, and processes where pids does not count', async () => { const t = await table(p); seen = JSON.stringify([t.a, t.disk]); return t.a.processes === '1' && /^\d+ proc\.$/.test(t.disk.processes); }).catch((e) => { console.log(seen); throw e; });
await request('oom');
await until('the kill', async () => /killed for want of memory in hog/.test(await p.locator('#marks .mark-oom').allTextContents().then((l) => l.join())));
const drawn = () => p.evaluate(() => {
  const probe = document.createElement('canvas').getContext('2d');
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--mark-oom').trim();
  probe.fillRect(0, 0, 1, 1);
  const [r, g, bl] = probe.getImageData(0, 0, 1, 1).data, c = document.querySelector('#plot canvas');
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  let n = 0;
  for (let i = 0; i < d.length; i += 4) if (d[i] === r && d[i + 1] === g && d[i + 2] === bl && d[i + 3] === 255) n++;
  return n;
});
await until('its mark in the chart', async () => (await drawn()) > 20);
await p.screenshot({ path: `${shots}/oom.png` });
await p.click('#marks .mark-oom >> nth=0');
await until('the event', async () => /killed for want of memory in hog/.test(await text('#events-list')));
done('out of memory');

await b.close();
done('no complaints');
