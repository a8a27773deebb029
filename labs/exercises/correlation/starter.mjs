// Sends requests over a Redis list and waits for the replies.

import { randomUUID } from "node:crypto";
import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const init = await course.start();
const requests = `${init.name}:requests`;
const replyTo = `${init.name}:replies:${randomUUID()}`; // a list of our own
const waiting = []; // ops without a reply, and when their time is up; the oldest first
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
  while (waiting.length > 0 || !allAsked) {
    const now = performance.now();
    for (const text of await replies()) {
      const reply = JSON.parse(text);
      // TODO: do replies come in the order of the requests? Does every request get exactly one?
      // How can you tell which request this reply belongs to? Work here and in the loop below.
      const request = waiting.shift();
      if (request) course.ok(request.op, { body: reply.body });
    }
    for (const request of waiting.filter(({ deadline }) => deadline <= now)) {
      waiting.splice(waiting.indexOf(request), 1);
      course.fail(request.op, "timeout");
    }
  }
}

const receiving = receive();
course.ready();

for await (const op of course.ops()) {
  const id = randomUUID();
  waiting.push({ op, deadline: performance.now() + op.timeout_ms });
  await sender.call("RPUSH", requests, JSON.stringify({ id, reply_to: replyTo, body: op.body }));
}

allAsked = true;
await receiving;
await sender.call("DEL", replyTo);
course.bye();
process.exit();
