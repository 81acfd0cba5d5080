// What people do with the page, in a real browser against a real daemon. The document and the processes are those of page_test.go.
import { open, until, request, done, table, names, url, shots, assert } from './lib.mjs';

const hostile = '<img src=x onerror=alert(1)>', turned = 'evil\\u202egpj.exe';
const b = await open();
const p = await b.page();
p.on('dialog', (d) => { throw new Error('a dialog: ' + d.message()); });
const text = (selector) => p.textContent(selector);
const look = (name) => p.screenshot({ path: `${shots}/${name}.png` });
const percent = (cell) => parseFloat(cell) || 0;

// ---- the tree appears
await p.goto(url + '/');
await until('the tree', async () => (await names(p)).length >= 8);
let rows = await table(p);
assert.deepEqual(Object.keys(rows).sort(), ['/ (all)', 'a', 'b', 'b1', hostile, turned, '__proto__', 'toString', 'disk'].sort());
assert.equal(rows.b1.level, rows.b.level + 1);
assert.equal(await p.locator('#rows img').count(), 0, 'a name became an element');
assert.equal(await p.evaluate(async () => (await fetch('/favicon.ico')).headers.get('content-type')), 'image/svg+xml');
assert.equal(await text('#columns .processes'), 'Processes');
await until('version in force', async () => (await text('#version')) === 'version 0');
done('tree');

// ---- numbers move, and are right
const seen = new Set();
await until('numbers that move', async () => {
  seen.add((await table(p)).a.cpu);
  return [...seen].filter((c) => percent(c) > 1).length >= 3;
});
await until('I/O of the writer', async () => / [KM]iB\/s$/.test((await table(p)).disk.write));
await until('memory', async () => /iB|B$/.test((await table(p)).a.memory));
await until('processes', async () => (await table(p)).a.processes === '1' && (await table(p))['/ (all)'].processes !== '0');
done('numbers');

// ---- who eats the CPU now: the first look. Who eats the disk, the memory: one key.
const firstOf = async (level) => Object.entries(await table(p)).find(([, r]) => r.level === level)[0];
await until('CPU first', async () => (await firstOf(2)) === 'a');
await p.keyboard.press('i');
await until('I/O first', async () => (await firstOf(2)) === 'disk');
await until('the order is in the URL', async () => /sort=io/.test(p.url()));
await p.keyboard.press('m');
await until('memory first', async () => ['a', 'b'].includes(await firstOf(2)));
await p.keyboard.press('n');
await until('by name', async () => { const l = Object.entries(await table(p)).filter(([, r]) => r.level === 2).map(([n]) => n); return l.join() === [...l].sort().join(); });
await p.keyboard.press('n');
await until('the other way round', async () => (await firstOf(2)) === 'disk');
await p.keyboard.press('c');
done('sort');

// ---- filter, tree, flat
await p.keyboard.press('/');
await p.keyboard.type('B1');
await until('filtered', async () => (await names(p)).join() === '/ (all),b,b1');
await p.keyboard.press('Enter');
await p.keyboard.press('t');
await until('flat', async () => (await names(p)).join() === 'b/b1');
await until('the filter is in the URL', async () => /filter=B1/.test(p.url()));
await p.reload();
await until('the same after a reload', async () => (await names(p)).join() === 'b/b1');
await p.keyboard.press('t');
await p.fill('#filter', '');
await p.focus('#table');
await until('all rows', async () => (await names(p)).length === 9);
await p.keyboard.press('n'); // usage changes the order while keys are pressed
await until('by name again', async () => (await firstOf(2)) === 'a');
await p.click('.label:text-is("b")');
// Faster than answers can come, and back to where they began.
for (const key of ['ArrowUp', 'ArrowDown', 'ArrowDown', 'ArrowUp', 'ArrowDown', 'ArrowUp']) await p.keyboard.press(key);
await until('focus', () => p.locator('.row.focused .label:text-is("b")').count());
await p.keyboard.press('ArrowLeft');
await until('closed', async () => !(await names(p)).includes('b1'));
await p.keyboard.press('ArrowRight');
await until('opened', async () => (await names(p)).includes('b1'));
await p.keyboard.press('c');
await p.keyboard.press('Escape');
done('keyboard');

// ---- which process inside that cgroup: one click
await p.click('.label:text-is("a")');
const pid = await until('processes inside', async () => {
  const cells = await p.locator('#inside-list tbody tr td').allTextContents();
  return cells[1] === 'sh' && percent(cells[2]) > 1 && cells[0];
});
await until('the cgroup is in the URL', async () => /cgroup=a/.test(p.url()));
await until('its line in the chart', async () => (await p.locator('.u-legend .u-label').allTextContents()).includes('a'));
await p.keyboard.down('Control'); await p.click('.label:text-is("b")'); await p.keyboard.up('Control');
await until('two lines', async () => (await p.locator('.u-legend .u-label').allTextContents()).join() === 'time,a,b');
await p.goBack();
await until('one line again', async () => (await p.locator('.u-legend .u-label').allTextContents()).join() === 'time,a');
const painted = () => p.$eval('#plot canvas', (c) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const s = new Set(); for (let i = 0; i < d.length; i += 4) s.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]); return s.size; });
await until('a chart that is not empty', async () => (await painted()) > 5);
await look('inside');
done('inside');

// ---- why is this process there: from there one click
await p.click(`#inside-list a:text-is("${pid}")`);
await until('why', async () => /pid file .*burner/.test(await text('#process-answer')));
await until('pid files', async () => /burner/.test(await text('#pid-files')));
await p.fill('#pid', '1');
await p.keyboard.press('Enter');
await until('another process', async () => /^1 /.test(await text('#process-answer h2')));
await look('process');
done('process');

// ---- what somebody changed by hand: one key
await request('drift');
await p.keyboard.press('Escape'); // leaves the field
await p.keyboard.press('d');
await until('drift', async () => /put back: write cpu:\S*\/b\/cpu\.shares 100/.test(await text('#events-list')));
await look('drift');
done('drift');

// ---- a new version: in force, on the time line, what changed, what an edit would do
await request('document');
await until('version 1', async () => (await text('#version')) === 'version 1');
await p.keyboard.press('3');
await until('what changed', async () => (await text('#diff')).includes('~ cpu:/b share 100 -> 300') && (await text('#diff')).includes('+ cpu:/new share 50'));
await until('summary', async () => (await text('#diff-title')) === 'From version 0 to 1: changes 1 setting, adds 1 cgroup');
await until('the document', async () => JSON.parse(await text('#document')).cpu.sub_cgroup.new.conf.share === 50);
await p.keyboard.press('e');
await p.keyboard.type('{"cpu":{"sub_cgroup":{"a":{"conf":{"share":7}}}}}');
await until('what the edit would do', async () => (await text('#diff')).includes('- cpu:/b and 5 below it') && (await text('#diff')).includes('~ cpu:/a share 500 -> 7'));
await until('its summary', async () => /^This edit: removes \d+ cgroups, leaves 2 subsystems, changes 1 setting$/.test(await text('#diff-title')));
await until('what the host says', async () => (await text('#diff-host')) === 'This host can honour all of it.');
await p.click('#diff-all');
await until('every line', async () => (await text('#diff')).includes('- cpu:/b/b1'));
await p.click('#diff-all');
await until('short again', async () => !(await text('#diff')).includes('- cpu:/b/b1'));
await look('edit');
await p.focus('#try-text');
await p.keyboard.press('End');
await p.keyboard.type('}');
await until('a fault', async () => (await text('#diff-title')) === 'This edit: 1 fault');
await p.click('#diff-faults button');
assert.deepEqual(await p.$eval('#try-text', (e) => [document.activeElement === e, e.selectionStart, e.value.length]), [true, 49, 50]);
await p.fill('#try-text', '{"cpu":{}, "nosuch": {}}');
await until('what this host cannot do', async () => /nosuch.*not mounted.*new|nosuch.*no such subsystem.*new/.test(await text('#diff-host')));
await look('configuration');
// Larger than a request may be: the texts are compared here, and that is said.
await p.fill('#try-text', JSON.stringify({ cpu: { sub_cgroup: Object.fromEntries(Array.from({ length: 4000 }, (_, i) => ['large' + i, { conf: {} }])) } }));
await until('compared here', async () => /larger than 64 KiB/.test(await text('#diff-how')) && (await text('#diff-title')).includes('4000 added'));
await p.fill('#try-text', '{"cpu":{}}');
await until('compared there', async () => (await text('#diff-how')) === '' && (await text('#diff')).includes('- cpu:/a'));
await p.keyboard.press('Escape');
await p.keyboard.press('1');
await until('the mark of the version', async () => /version 1 is in force/.test(await text('#marks')));
await until('the new cgroup', async () => (await names(p)).includes('new'));
done('configuration');

// ---- who did at that moment, and which version was in force then: g, the time, Enter
await p.keyboard.press('Escape');
const then = await p.evaluate(() => { const d = new Date(Date.now() - 3000); return d.toTimeString().slice(0, 8); });
await p.keyboard.press('g');
await p.keyboard.type(then);
await p.keyboard.press('Enter');
await until('as of then', async () => (await text('#state')) === 'as of ' + then);
await until('CPU then', async () => percent((await table(p)).a.cpu) > 1);
await until('version then', async () => /version 1 was in force/.test(await text('#then')));
const at = p.url();
await look('then');
const other = await b.page();
await other.goto(at);
await until('the same elsewhere', async () => (await other.textContent('#state')) === 'as of ' + then);
await other.context().close();
await p.keyboard.press('Escape');
await p.fill('#at', 'nonsense');
await p.press('#at', 'Enter');
assert.equal(await p.$eval('#at', (e) => e.validity.valid), false);
await p.press('#at', 'Escape');
await p.keyboard.press('l');
await until('live', async () => /^live/.test(await text('#state')));
// From before the version: what changed since?
await p.keyboard.press('2');
await p.click('#kinds button:text-is("versions")');
await p.click('#events-list tr:has-text("version 0 is in force") a >> nth=0');
await until('version 0 then', async () => /version 0 was in force/.test(await text('#then')));
await p.click('#then a');
await until('what changed since', async () => (await text('#diff-title')).startsWith('From version 0 to 1: '));
await p.keyboard.press('l');
// Slot n is the start of second n: a version shows in the first slot after it, and not in the one before.
await p.keyboard.press('2');
await p.click('#events-list tr:has-text("version 1 is in force") a >> nth=0');
await until('version 1 then', async () => /version 1 was in force/.test(await text('#then')));
await p.goto(p.url().replace(/\bat=(\d+)/, (_, at) => 'at=' + (Number(at) - 1)));
await until('version 0 in the second before', async () => /version 0 was in force/.test(await text('#then')));
await p.keyboard.press('l');
done('then');

// ---- pause, zoom
await p.keyboard.press('1');
await p.click('#unzoom');
await p.keyboard.press('z');
const paused = await until('paused', async () => { const s = await text('#state'); return s.startsWith('paused at ') && s; });
const still = JSON.stringify(await table(p));
await p.waitForTimeout(2500);
assert.equal(await text('#state'), paused);
assert.equal(JSON.stringify(await table(p)), still);
await p.keyboard.press('z');
await until('goes on', async () => /^live/.test(await text('#state')));
const box = await p.locator('.u-over').boundingBox();
await p.mouse.move(box.x + box.width * 0.6, box.y + 40); await p.mouse.down();
await p.mouse.move(box.x + box.width * 0.9, box.y + 40, { steps: 5 }); await p.mouse.up();
await until('zoomed', () => /range=\d+-\d+/.test(p.url()));
await p.keyboard.press('u');
await until('whole history', () => !/range=/.test(p.url()));
done('pause and zoom');

// ---- a host fault; what the daemon costs; the other hosts
await request('fault');
await until('faults', async () => (await text('#faults')) === '1 host fault');
await p.click('#faults');
await until('which', async () => /nosuch/.test(await text('#events-list')));
await look('fault');
await p.keyboard.press('6');
await until('the daemon', async () => /Last sample.*Missed seconds/.test((await text('#daemon-list')).replaceAll('\n', ' ')));
await p.keyboard.press('4');
await until('hosts', async () => /ZooKeeper/.test(await text('#hosts-summary')));
await p.keyboard.press('?');
await until('help', () => p.locator('#help[open]').count());
await p.keyboard.press('Escape');
done('fault');

// ---- the daemon goes and comes
await p.keyboard.press('1');
b.setOffline(true);
await request('stop');
await until('it is said', async () => (await text('#state')) === 'no connection, trying again');
await look('lost');
await request('start');
await until('back', async () => /^live/.test(await text('#state')));
b.setOffline(false);
const before = await text('#state');
await until('it goes on', async () => /^live/.test(await text('#state')) && (await text('#state')) !== before && percent((await table(p)).a.cpu) > 1);
await until('status again', async () => (await text('#version')).startsWith('version'));
done('restart');

// ---- a long history of moments in one address; dark; a phone
const dark = await b.page({ colorScheme: 'dark' });
await dark.goto(url + '/#/usage?sort=io&metric=io&cgroup=a&cgroup=disk');
await until('dark', async () => (await names(dark)).length >= 8);
const back = await dark.$eval('body', (e) => getComputedStyle(e).backgroundColor);
assert.ok(back.match(/\d+/g).every((c) => Number(c) < 64), 'dark is ' + back);
await dark.waitForTimeout(1500);
await dark.screenshot({ path: shots + '/dark.png' });
const phone = await b.page({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
for (const view of ['usage', 'events', 'configuration', 'hosts', 'process', 'daemon']) {
  await phone.goto(url + '/#/' + view);
  if (view === 'usage') {
    await until('rows on a phone', async () => (await names(phone)).length >= 4);
    await phone.tap('.label:text-is("a")');
    await until('inside on a phone', async () => /sh/.test(await phone.textContent('#inside-list')));
  }
  await phone.waitForTimeout(500);
  const [wide, room] = await phone.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= room, `${view}: ${wide} pixels on a screen of ${room}`);
  await phone.screenshot({ path: `${shots}/phone-${view}.png` });
}
done('dark, phone');

await b.close();
done('no complaints');
