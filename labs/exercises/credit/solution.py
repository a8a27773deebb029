"""Credit: the receiver says how many messages it can take; the sender keeps to that."""

import collections
import socket
import struct
import threading

import course

init = course.start()
host, port = init["endpoint"].rsplit(":", 1)
connection = socket.create_connection((host, int(port)))
stream = connection.makefile("rb")

lock = threading.Lock()  # for the two that follow: an op and a credit may come at the same time
credit = 0
waiting = collections.deque()  # ops without credit, the oldest first


def write_frame(text):
    data = text.encode()
    connection.sendall(struct.pack(">I", len(data)) + data)


def read_frame():
    """The next frame, or None when the connection is closed."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    return stream.read(struct.unpack(">I", header)[0]).decode()


def send_waiting():
    """Sends while there is something to send and credit for it. The caller holds the lock."""
    global credit
    while waiting and credit > 0:
        op = waiting.popleft()
        credit -= 1
        write_frame(op["body"])
        course.ok(op)  # only now: a message that waits is not yet written


def listen():
    global credit
    while (text := read_frame()) is not None:
        word, number = text.split()
        if word == "credit":
            with lock:
                credit += int(number)  # on top of what is left
                send_waiting()


threading.Thread(target=listen, daemon=True).start()
course.ready()

for op in course.ops():
    with lock:
        # After each `send_waiting` nothing waits or there is no credit. So a full buffer means
        # that there is no credit, and the caller learns at once that it is too fast.
        if len(waiting) >= init["buffer"]:
            course.fail(op, "full")
        else:
            waiting.append(op)  # behind those that wait, so that none is overtaken
            send_waiting()

with lock:
    while waiting:
        course.fail(waiting.popleft(), "stopped")  # every op gets an answer
course.bye()
