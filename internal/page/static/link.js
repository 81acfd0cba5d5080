// The way to the worker, and by it to the daemon.

const worker = new Worker('/page/worker.js');
export const tell = (message) => worker.postMessage(message);

// receive hands what the worker says to a function for each type.
export function receive(handlers) {
  worker.onmessage = (e) => handlers[e.data.type](e.data);
}

const answers = new Map();
let question = 0;
// ask is a command of the daemon; answered is its answer.
export function ask(cmd, args) {
  return new Promise((resolve, reject) => {
    answers.set(++question, { resolve, reject });
    tell({ type: 'ask', id: question, cmd, args });
  });
}

export function answered(m) {
  const a = answers.get(m.id);
  answers.delete(m.id);
  if (m.error !== undefined) a.reject(new Error(m.error)); else a.resolve(m.reply);
}
