// Subscribes to a Redis channel, reports what it hears, and subscribes again after a lost connection.

import * as course from "./course.mjs";
import { connect } from "./resp.mjs";

const init = await course.start();
const channel = `${init.name}:news`;

/** Connects and subscribes. Tries for 10 s. */
async function subscribe() {
  const giveUp = Date.now() + 10_000;
  for (;;) {
    try {
      const redis = await connect(init.endpoint);
      // Redis keeps nothing for those who come later. Only its confirmation tells us that from now
      // on it sends us what is published.
      await redis.callWithin(5000, "SUBSCRIBE", channel);
      return redis;
    } catch (error) { // a cut can hit the confirmation, too
      if (Date.now() > giveUp || (await course.waitForStop(50))) throw error;
    }
  }
}

/** Reports messages until the stop, or until the connection is lost, which throws. */
async function listen(redis) {
  while (!course.stopped()) {
    const message = await redis.message(200);
    if (message !== null) course.recv({ body: message[2] }); // null: nothing came in 200 ms
  }
}

while (!course.stopped()) {
  const redis = await subscribe();
  course.ready(); // each time: what was published before this may be missing
  try {
    await listen(redis);
  } catch (error) {
    course.log("lost the connection:", error.message);
  }
}

course.bye();
process.exit();
