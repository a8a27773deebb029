// Scatter-gather: asks all services with one message and gathers the replies that come in time.

import { randomUUID } from "node:crypto";
import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const { name, services, endpoint } = await course.start();
const redis = await connect(endpoint);
const answers = `${name}:answers`; // the list on which the services reply
course.ready();

/** Asks all services. Returns the replies that came in time, by service. */
async function ask(body, ms) {
  const deadline = performance.now() + ms;
  const id = randomUUID(); // never used again: a late reply cannot match a later question
  await redis.call("PUBLISH", `${name}:questions`, JSON.stringify({ id, reply_to: answers, body }));

  const replies = new Map(); // by service, so that a service that replies twice counts once
  while (replies.size < services) {
    // What is left of the time for all replies. A full time-out for each of them could add up.
    const left = deadline - performance.now();
    if (left < 1) break; // Redis takes 0 for "without a time-out"
    const popped = await redis.call("BLPOP", answers, (left / 1000).toFixed(3));
    const reply = popped === null ? {} : JSON.parse(popped[1]);
    if (reply.id !== id) continue; // nothing came, or a late reply to an earlier question
    if (!replies.has(reply.service)) replies.set(reply.service, reply.body);
  }
  return replies;
}

for await (const op of course.ops()) {
  const replies = await ask(op.body, op.timeout_ms);
  const text = [...replies].sort().map(([service, body]) => `${service}=${body}`).join(",");
  // Some replies are better than none, if the answer says how many are missing.
  course.ok(op, { replies: text, missing: services - replies.size });
}

course.bye();
process.exit();
