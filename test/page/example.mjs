// Runs the JavaScript of docs/websocket.md in a page of the daemon, until it has printed three lines.
import { readFileSync } from 'node:fs';
import { open, until, done, url, assert } from './lib.mjs';

const text = readFileSync(process.argv[4], 'utf8');
const b = await open();
const p = await b.page();
await p.goto(url + '/'); // of the same origin
const lines = [];
p.on('console', (m) => lines.push(m.text()));
await p.evaluate(text);
await until('three lines', () => lines.length >= 3);
for (const line of lines) assert.match(line, /^\d+: \d+\.\d\d CPUs$/);
await b.close();
done('example');
