// A worker of a consumer group: it takes tasks from a stream, does them and acknowledges them.
//
// This version acknowledges a task before it does the task. A task that it has acknowledged and not
// done is lost when the program is killed.

import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const init = await course.start();
const [stream, group] = [`${init.name}:tasks`, `${init.name}:workers`];
const consumer = `worker-${init.index}`;
const redis = await connect(init.endpoint);
course.ready();

while (!course.stopped()) {
  // `>` asks for entries that no worker of the group has taken yet. BLOCK waits 200 ms for one.
  const reply = await redis.call(
    "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, ">",
  );
  if (reply === null) continue;
  // One stream, one entry, whose fields are a flat list: name, value, name, value.
  const [[, [[entry, fields]]]] = reply;
  const body = fields[fields.indexOf("body") + 1];

  // TODO: What does Redis know of this task if the program is killed between these two lines, or
  // within the second? And after a restart: who asks for the task that was in hand then?
  await redis.call("XACK", stream, group, entry);
  await course.effect(entry, body);
}

course.bye();
process.exit();
