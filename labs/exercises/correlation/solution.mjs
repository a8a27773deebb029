// Sends requests over a Redis list and matches the replies, which come in any order or not at all.

import { randomUUID } from "node:crypto";
import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const init = await course.start();
const requests = `${init.name}:requests`;
const replyTo = `${init.name}:replies:${randomUUID()}`; // a list of our own
const waiting = new Map(); // id of a request → its op, and when its time is up
let allAsked = false;

// Two connections: a connection that waits in BLPOP can do nothing else.
const sender = await connect(init.endpoint);
const receiver = await connect(init.endpoint);

/** All replies that are on the list; waits a little for the first. */
async function replies() {
  const first = await receiver.call("BLPOP", replyTo, 0.1);
  return first ? [first[1], ...((await receiver.call("LPOP", replyTo, 1000)) ?? [])] : [];
}

async function receive() {
  while (waiting.size > 0 || !allAsked) {
    const now = performance.now();
    for (const text of await replies()) {
      const reply = JSON.parse(text);
      const request = waiting.get(reply.id);
      if (!request) continue; // it is too late, or comes a second time
      waiting.delete(reply.id);
      course.ok(request.op, { body: reply.body });
    }
    // Time-outs after the replies: what came in time is delivered, even if we read it late.
    for (const [id, { op, deadline }] of waiting) {
      if (deadline > now) continue;
      waiting.delete(id);
      course.fail(op, "timeout");
    }
  }
}

const receiving = receive();
course.ready();

for await (const op of course.ops()) {
  const id = randomUUID(); // the body cannot be the id: two requests can have the same
  // Before the request is sent: the reply can be here before RPUSH returns.
  waiting.set(id, { op, deadline: performance.now() + op.timeout_ms });
  await sender.call("RPUSH", requests, JSON.stringify({ id, reply_to: replyTo, body: op.body }));
}

allAsked = true;
await receiving;
await sender.call("DEL", replyTo);
course.bye();
process.exit();
