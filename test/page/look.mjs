// Screenshots of every view, for people to look at.
import { open, until, table, url, shots } from './lib.mjs';
const b = await open();
const p = await b.page();
await p.goto(url + '/');
await until('rows', async () => (await table(p))['/ (all)']);
await p.waitForTimeout(4000);
await p.screenshot({ path: shots + '/usage.png' });
await p.keyboard.press('ArrowDown'); await p.keyboard.press('ArrowDown');
await p.waitForTimeout(300);
await p.keyboard.press('Enter');
await p.waitForTimeout(3500);
await p.screenshot({ path: shots + '/inside.png' });
for (const [i, name] of ['events', 'configuration', 'hosts', 'process', 'daemon'].entries()) {
  await p.keyboard.press(String(i + 2));
  await p.waitForTimeout(1000);
  await p.screenshot({ path: `${shots}/${name}.png` });
  await p.keyboard.press('Escape'); // leaves a field
}
const dark = await b.page({ colorScheme: 'dark' });
await dark.goto(url + '/#/usage?sort=memory&metric=memory&flat=1');
await dark.waitForTimeout(3500);
await dark.screenshot({ path: shots + '/dark.png' });
const phone = await b.page({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
await phone.goto(url + '/');
await phone.waitForTimeout(3500);
await phone.screenshot({ path: shots + '/phone.png' });
await b.close();
