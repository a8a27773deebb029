// Credit: the receiver says how many messages it can take; the sender keeps to that.
//
// This version sends whatever it is told, and does not ask for the credit.

import { once } from "node:events";
import net from "node:net";
import * as course from "./course.mjs";

const init = await course.start();
const connection = net.connect(course.address(init.endpoint));
await once(connection, "connect");
connection.on("error", (error) => course.log(error)); // the connection is closed then

function writeFrame(text, written) {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(Buffer.byteLength(text));
  connection.write(Buffer.concat([header, Buffer.from(text)]), written);
}

let received = Buffer.alloc(0);
connection.on("data", (data) => {
  received = Buffer.concat([received, data]);
  while (received.length >= 4 && received.length >= 4 + received.readUInt32BE(0)) {
    const end = 4 + received.readUInt32BE(0);
    course.log("the receiver says:", received.subarray(4, end).toString()); // "credit 3"
    received = received.subarray(end);
  }
});
course.ready();

for await (const op of course.ops()) {
  // TODO: May this message be sent now? If not: where does it wait, how many may wait there, and
  // who sends it when the credit comes?
  writeFrame(op.body, () => course.ok(op));
}

connection.end(() => { // when everything is written
  course.bye();
  process.exit();
});
