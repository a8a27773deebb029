"""Credit: the receiver says how many messages it can take; the sender keeps to that.

This version sends whatever it is told, and does not ask for the credit.
"""

import socket
import struct
import threading

import course

init = course.start()
host, port = init["endpoint"].rsplit(":", 1)
connection = socket.create_connection((host, int(port)))
stream = connection.makefile("rb")


def write_frame(text):
    data = text.encode()
    connection.sendall(struct.pack(">I", len(data)) + data)


def read_frame():
    """The next frame, or None when the connection is closed."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    return stream.read(struct.unpack(">I", header)[0]).decode()


def listen():
    while (text := read_frame()) is not None:
        course.log("the receiver says:", text)  # "credit 3"


threading.Thread(target=listen, daemon=True).start()
course.ready()

for op in course.ops():
    # TODO: May this message be sent now? If not: where does it wait, how many may wait there,
    # and who sends it when the credit comes?
    write_frame(op["body"])
    course.ok(op)

course.bye()
