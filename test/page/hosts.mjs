// Which hosts lag behind, and why: one key.
import { open, until, done, request, url, shots } from './lib.mjs';
const b = await open();
const p = await b.page();
await p.goto(url + '/');
await until('the page', async () => /^version/.test(await p.textContent('#version')));
await p.keyboard.press('4');
await until('hosts', async () => /version 0 is in force on 1 of 2 hosts/.test(await p.textContent('#hosts-summary')));
await until('the one that lags, first', async () => {
  const rows = await p.locator('#hosts-list tbody tr').allTextContents();
  return rows.length === 2 && rows[0].startsWith('absent') && rows[0].endsWith('unknown') && (await p.locator('#hosts-list tr.bad').count()) === 1;
});
await p.screenshot({ path: shots + '/hosts.png' });

// The node made anew counts from 0 again: version 0 is another document now.
await p.keyboard.press('3');
await until('the document', async () => /sub_cgroup/.test(await p.textContent('#document')));
await request('anew');
await until('the other document', async () => /made_anew/.test(await p.textContent('#document')) && /^version 0$/.test(await p.textContent('#version')));
await b.close();
done('hosts');
