// The control lines of an exercise: one JSON object a line, on stdin and stdout.
//
// Nothing here touches the messages themselves: those are yours to send and receive.
// Print nothing else to stdout; `log` writes to stderr.
// At the end: bye(), then process.exit(), because open connections would keep the program alive.

import net from "node:net";
import readline from "node:readline";

const waiting = []; // ops that were not taken yet
let wake = () => {}; // called when there is another one, and at the stop
let isStopped = false;
let init, sink, stop;
const stopping = new Promise((resolve) => (stop = resolve));

function say(type, fields = {}) {
  process.stdout.write(JSON.stringify({ type, ...fields }) + "\n");
}

/** Waits for the `init` line and returns it as an object. */
export async function start() {
  const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
  const begun = new Promise((resolve) => {
    lines.on("line", (line) => {
      const message = JSON.parse(line);
      if (message.type === "init") resolve(message);
      else if (message.type === "op") waiting.push(message);
      else if (message.type === "stop") lines.close();
      wake();
    });
  });
  lines.on("close", () => {
    isStopped = true;
    stop();
    wake();
  });
  return (init = await begun);
}

/** What `net.connect` takes, of an endpoint like "127.0.0.1:6379". */
export function address(endpoint) {
  const [host, port] = endpoint.split(":");
  return { host, port: Number(port) };
}

export const ready = () => say("ready");
/** Says that a message came: recv({ body: "…" }). */
export const recv = (fields) => say("recv", fields);
export const ok = (op, fields) => say("ok", { id: op.id, ...fields });
export const fail = (op, reason) => say("fail", { id: op.id, reason });
export const info = (text) => say("info", { text });
export const bye = () => say("bye");
export const log = (...words) => console.error(...words);

/** What the program is told to do, one after the other, until it is told to stop. */
export async function* ops() {
  while (waiting.length > 0 || !isStopped) {
    if (waiting.length > 0) yield waiting.shift();
    else await new Promise((resolve) => (wake = resolve));
  }
}

/** Whether the program was told to stop. */
export const stopped = () => isStopped;

/** Waits for the stop, at most `ms` milliseconds if given; returns whether it came. */
export async function waitForStop(ms) {
  let timer;
  const elapsed = ms === undefined ? [] : [new Promise((resolve) => (timer = setTimeout(resolve, ms)))];
  await Promise.race([stopping, ...elapsed]);
  clearTimeout(timer);
  return isStopped;
}

/** The sink refused an effect; the message is its reason. */
export class EffectFailed extends Error {}

let turn = Promise.resolve();

/** Does the work: tells the sink, and waits for its answer, which is returned. One at a time. */
export function effect(key, body) {
  const answer = turn.then(() => ask(JSON.stringify({ type: "effect", key, body })));
  turn = answer.catch(() => {});
  return answer;
}

async function ask(line) {
  if (!sink) {
    const socket = net.connect(address(init.sink));
    socket.on("error", log); // it closes then, and so do its lines
    sink = { socket, answers: readline.createInterface({ input: socket })[Symbol.asyncIterator]() };
  }
  sink.socket.write(line + "\n");
  const { value, done } = await sink.answers.next();
  const answer = done ? { reason: "the sink is gone" } : JSON.parse(value);
  if (answer.type !== "ok") throw new EffectFailed(answer.reason);
  return answer;
}
