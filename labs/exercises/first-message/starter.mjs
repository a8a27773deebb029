// Receives messages over TCP: four bytes of length (big-endian), then that many bytes of UTF-8.

import { once } from "node:events";
import net from "node:net";
import * as course from "./course.mjs";

const init = await course.start();
const connection = net.connect(course.address(init.endpoint));
await once(connection, "connect");
connection.on("error", (error) => course.log(error)); // the connection is closed then
course.ready();

connection.on("data", (data) => {
  // TODO: is `data` always exactly one message? What else can one "data" event bring?
  // Work here: find out where a message begins and where it ends.
  course.recv({ body: data.subarray(4).toString() });
});

await course.waitForStop();
course.bye();
process.exit();
