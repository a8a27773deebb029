// Receives messages over TCP: four bytes of length (big-endian), then that many bytes of UTF-8.

import { once } from "node:events";
import net from "node:net";
import * as course from "./course.mjs";

const HEADER = 4;

const init = await course.start();
const connection = net.connect(course.address(init.endpoint));
await once(connection, "connect");
connection.on("error", (error) => course.log(error)); // the connection is closed then
course.ready();

// TCP carries bytes, not messages: what one "data" event brings can begin and end anywhere. So the
// bytes are kept until a whole frame is there, and what is behind it is kept for the next one.
let received = Buffer.alloc(0);
connection.on("data", (data) => {
  received = Buffer.concat([received, data]);
  while (received.length >= HEADER) {
    const end = HEADER + received.readUInt32BE(0);
    if (received.length < end) break;
    course.recv({ body: received.subarray(HEADER, end).toString() });
    received = received.subarray(end);
  }
});

await course.waitForStop();
course.bye();
process.exit();
