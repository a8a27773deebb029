// Scatter-gather: asks all services with one message and gathers their replies.
//
// This version waits until every service has replied.

import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const { name, services, endpoint } = await course.start();
const redis = await connect(endpoint);
const answers = `${name}:answers`; // the list on which the services reply
course.ready();

for await (const op of course.ops()) {
  const question = { id: String(op.id), reply_to: answers, body: op.body };
  await redis.call("PUBLISH", `${name}:questions`, JSON.stringify(question));

  // TODO: What happens here when one of the services is down? And to which question does a reply
  // belong that comes late?
  const replies = new Map();
  while (replies.size < services && !course.stopped()) {
    const popped = await redis.call("BLPOP", answers, 0.2); // waits for at most 0.2 seconds
    if (popped !== null) {
      const reply = JSON.parse(popped[1]);
      replies.set(reply.service, reply.body);
    }
  }
  if (replies.size < services) break; // told to stop

  const text = [...replies].sort().map(([service, body]) => `${service}=${body}`).join(",");
  course.ok(op, { replies: text, missing: 0 });
}

course.bye();
process.exit();
