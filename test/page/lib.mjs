// What the scripts of this directory share: a browser, and talking with the Go test that started them.
import { chromium } from 'playwright-core';
import { createInterface } from 'node:readline';
import assert from 'node:assert/strict';

export const [url, shots] = process.argv.slice(2);

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// request asks the Go test to do something to the host and waits until it is done.
export async function request(what) {
  console.log('request ' + what);
  const { value, done } = await answers.next();
  assert.ok(!done && value === 'done', `${what}: ${value}`);
}

export const done = (what) => console.log('passed ' + what);

// open starts a browser. It fails at its end when the page has complained, or asked any other server.
export async function open() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'], // root, in a container
  });
  const complaints = [], foreign = [];
  let offline = false; // the daemon is down: that the browser says so is no complaint
  const watch = (context) => {
    context.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && !offline) complaints.push(m.text()); });
    context.on('weberror', (e) => complaints.push(String(e.error().stack)));
    context.on('request', (r) => { if (!r.url().startsWith(url) && !r.url().startsWith('data:')) foreign.push(r.url()); });
  };
  return {
    browser,
    setOffline(is) { offline = is; },
    async page(options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      watch(context);
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      return page;
    },
    async close() {
      await browser.close();
      process.stdin.destroy(); // or node would wait for more answers
      assert.deepEqual(complaints, [], 'the console');
      assert.deepEqual(foreign, [], 'requests to others');
    },
  };
}

// until polls: what the page shows changes by itself.
export async function until(what, f, limit = 20_000) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try { last = await f(); if (last) return last; } catch (e) { last = e; }
    if (Date.now() > end) throw new Error(`never: ${what}; last: ${last instanceof Error ? last.stack : JSON.stringify(last)}`);
    await new Promise((r) => setTimeout(r, 50));
  }
}

// table is what is visible of it: an object of a row's cells, by the text of its name. It is put together here: a browser's
// answer cannot have a member __proto__.
export const table = async (page) => Object.fromEntries(await page.$$eval('#rows .row:not([hidden])', (rows) => rows
  .map((r) => [r, Number(r.getAttribute('aria-rowindex'))]).sort((a, b) => a[1] - b[1])
  .map(([r, i]) => [r.querySelector('.label').textContent, {
    index: i, level: Number(r.getAttribute('aria-level')), selected: r.getAttribute('aria-selected') === 'true',
    ...Object.fromEntries(['cpu', 'io', 'read', 'write', 'memory', 'processes'].map((k) => [k, r.querySelector('.' + k).textContent])),
  }])));

export const names = async (page) => Object.keys(await table(page));
export { assert };
