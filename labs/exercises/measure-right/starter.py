"""Measure right: how long do requests take, also when the server has a pause?

This version sends the next request when the answer to the last one has come.
"""

import math
import socket
import struct
import time

import course

init = course.start()
host, port = init["endpoint"].rsplit(":", 1)
connection = socket.create_connection((host, int(port)))
connection.settimeout(1)  # an answer that takes longer does not come any more
course.ready()


def write_frame(text):
    data = text.encode()
    connection.sendall(struct.pack(">I", len(data)) + data)


def read_exactly(length):
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionError("the server has closed the connection")
        data += piece
    return data


def read_frame():
    return read_exactly(struct.unpack(">I", read_exactly(4))[0]).decode()


def percentile(ordered, share):
    """The smallest of the values that at least this share of all values does not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


for op in course.ops():
    sent, latencies = 0, []
    for number in range(round(op["rate"] * op["seconds"])):
        # TODO: How many requests does this loop send while the server has a pause of half a second?
        # How many would have been due in that time, and how long would they have waited?
        begin = time.monotonic()
        write_frame(str(number))
        sent += 1
        try:
            read_frame()
            latencies.append(time.monotonic() - begin)
        except TimeoutError:
            course.log("no answer to request", number)
        time.sleep(max(0, begin + 1 / op["rate"] - time.monotonic()))
    micros = sorted(round(latency * 1e6) for latency in latencies)
    p50, p99 = percentile(micros, 0.5), percentile(micros, 0.99)
    course.ok(op, sent=sent, received=sent, p50_us=p50, p99_us=p99, max_us=micros[-1])

course.bye()
