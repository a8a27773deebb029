// A small Redis client without packages. Replies come in the order of the calls.
//
//     const redis = await connect("127.0.0.1:6379");
//     await redis.call("RPUSH", "list", "text");     // the reply: text, a number, null or a list
//     await redis.callWithin(500, "GET", "key");     // rejects with ReplyTimeout after 500 ms
//
// The call of SUBSCRIBE or PSUBSCRIBE resolves when Redis confirms it. Then messages come:
//
//     const push = await redis.message(200);         // ["message", channel, body]; null after 200 ms
//
// An error reply rejects with RedisError. When the connection is gone, everything that waits
// rejects with ConnectionLost, and so does every later call.

import net from "node:net";
import { address } from "./course.mjs";

export class RedisError extends Error {}
export class ReplyTimeout extends Error {}
export class ConnectionLost extends Error {}

/** Connects; rejects with ConnectionLost when that fails. */
export function connect(endpoint) {
  const socket = net.connect(address(endpoint)).setNoDelay();
  const redis = new Redis(socket);
  return new Promise((resolve, reject) => {
    socket.on("connect", () => resolve(redis));
    socket.on("close", () => reject(new ConnectionLost(`cannot connect to ${endpoint}`)));
  });
}

export class Redis {
  #socket;
  #received = Buffer.alloc(0);
  #calls = []; // without a reply yet, the oldest first
  #messages = []; // that nobody has asked for yet
  #readers = []; // that wait for a message
  #subscribed = false;
  #lost = null;

  constructor(socket) {
    this.#socket = socket;
    socket.on("data", (data) => this.#read(data));
    socket.on("error", (error) => (this.#lost = new ConnectionLost(error.message)));
    socket.on("close", () => {
      this.#lost ??= new ConnectionLost("Redis has closed the connection");
      const waiting = [...this.#calls.splice(0), ...this.#readers.splice(0)];
      for (const { reject } of waiting) reject(this.#lost);
    });
  }

  /** Sends a command and waits for its reply. */
  call(...words) {
    if (this.#lost) return Promise.reject(this.#lost);
    const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
    this.#socket.write(`*${words.length}\r\n${parts.join("")}`);
    if (/subscribe$/i.test(words[0])) {
      this.#subscribed = true;
      // One reply for each channel; the last is the one that counts.
      for (let channel = 2; channel < words.length; channel++) this.#calls.push({ resolve() {}, reject() {} });
    }
    return new Promise((resolve, reject) => this.#calls.push({ resolve, reject }));
  }

  /** The same, for at most `ms` milliseconds. A reply that comes later is dropped. */
  callWithin(ms, ...words) {
    return new Promise((resolve, reject) => {
      const late = () => reject(new ReplyTimeout(`no reply to ${words[0]} within ${ms} ms`));
      const timer = setTimeout(late, ms);
      this.call(...words).then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  /** The next message of a subscription. With `ms`: null when none comes in that many milliseconds. */
  message(ms) {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      this.#readers.push(reader);
      if (ms === undefined) return;
      const timer = setTimeout(() => {
        this.#readers = this.#readers.filter((other) => other !== reader);
        resolve(null);
      }, ms);
      reader.resolve = (push) => (clearTimeout(timer), resolve(push));
      reader.reject = (error) => (clearTimeout(timer), reject(error));
    });
  }

  close() {
    this.#socket.destroy();
  }

  #read(data) {
    this.#received = Buffer.concat([this.#received, data]);
    for (let parsed; (parsed = parse(this.#received, 0)); ) {
      const [reply, end] = parsed;
      this.#received = this.#received.subarray(end);
      if (this.#subscribed && Array.isArray(reply) && /^p?message$/.test(reply[0])) {
        const reader = this.#readers.shift();
        if (reader) reader.resolve(reply);
        else this.#messages.push(reply);
      } else {
        const call = this.#calls.shift();
        if (reply instanceof RedisError) call?.reject(reply);
        else call?.resolve(reply);
      }
    }
  }
}

/** The reply that begins at `start` and the position behind it; null when it is not complete. */
function parse(bytes, start) {
  const end = bytes.indexOf("\r\n", start);
  if (end < 0) return null;
  const line = bytes.toString("utf8", start + 1, end);
  let at = end + 2;
  switch (bytes[start]) {
    case 0x2b: // "+"
      return [line, at];
    case 0x2d: // "-"
      return [new RedisError(line), at];
    case 0x3a: // ":"
      return [Number(line), at];
  }
  const length = Number(line);
  if (length < 0) return [null, at];
  if (bytes[start] === 0x24) { // "$"
    if (bytes.length < at + length + 2) return null;
    return [bytes.toString("utf8", at, at + length), at + length + 2];
  }
  const list = [];
  while (list.length < length) {
    const item = parse(bytes, at);
    if (item === null) return null;
    list.push(item[0]);
    at = item[1];
  }
  return [list, at];
}
