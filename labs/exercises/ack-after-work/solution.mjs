// A worker that acknowledges a task when it is done, and first repeats what it had in hand.
//
// Redis keeps a list of pending entries for each consumer: taken, not acknowledged. A program that was
// killed finds its task there when it is started again under the same name.

import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const init = await course.start();
const [stream, group] = [`${init.name}:tasks`, `${init.name}:workers`];
const consumer = `worker-${init.index}`;
const redis = await connect(init.endpoint);
course.ready();

let position = "0"; // an id instead of `>`: this consumer's own pending entries
while (!course.stopped()) {
  // One entry at a time: a second one would wait here while another worker may be idle.
  const reply = await redis.call(
    "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, position,
  );
  if (reply === null || reply[0][1].length === 0) {
    position = ">"; // nothing is pending any more: from now on new entries
    continue;
  }
  const [[, [[entry, fields]]]] = reply;
  const body = fields[fields.indexOf("body") + 1];
  await course.effect(entry, body);
  // Only now: until here a kill leaves the entry pending.
  await redis.call("XACK", stream, group, entry);
}

course.bye();
process.exit();
