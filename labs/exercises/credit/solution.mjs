// Credit: the receiver says how many messages it can take; the sender keeps to that.

import { once } from "node:events";
import net from "node:net";
import * as course from "./course.mjs";

const init = await course.start();
const connection = net.connect(course.address(init.endpoint));
await once(connection, "connect");
connection.on("error", (error) => course.log(error)); // the connection is closed then

let credit = 0;
const waiting = []; // ops without credit, the oldest first

function writeFrame(text, written) {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(Buffer.byteLength(text));
  connection.write(Buffer.concat([header, Buffer.from(text)]), written);
}

/** Sends while there is something to send and credit for it. */
function sendWaiting() {
  while (waiting.length > 0 && credit > 0) {
    const op = waiting.shift();
    credit -= 1;
    writeFrame(op.body, () => course.ok(op)); // not earlier: a message that waits is not written
  }
}

let received = Buffer.alloc(0);
connection.on("data", (data) => {
  received = Buffer.concat([received, data]);
  while (received.length >= 4 && received.length >= 4 + received.readUInt32BE(0)) {
    const end = 4 + received.readUInt32BE(0);
    const [word, number] = received.subarray(4, end).toString().split(" ");
    if (word === "credit") credit += Number(number); // on top of what is left
    received = received.subarray(end);
  }
  sendWaiting();
});
course.ready();

for await (const op of course.ops()) {
  // After each `sendWaiting` nothing waits or there is no credit. So a full buffer means that there
  // is no credit, and the caller learns at once that it is too fast.
  if (waiting.length >= init.buffer) {
    course.fail(op, "full");
  } else {
    waiting.push(op); // behind those that wait, so that none is overtaken
    sendWaiting();
  }
}

for (const op of waiting.splice(0)) course.fail(op, "stopped"); // every op gets an answer
connection.end(() => { // when everything is written
  course.bye();
  process.exit();
});
