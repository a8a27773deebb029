"""Measure right: how long do requests take, also when the server has a pause?"""

import itertools
import math
import queue
import socket
import struct
import threading
import time

import course

init = course.start()
host, port = init["endpoint"].rsplit(":", 1)
connection = socket.create_connection((host, int(port)))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small requests leave at once
stream = connection.makefile("rb")
arrivals = queue.Queue()  # (number of the request, when its answer came)
numbers = itertools.count()  # goes on from one measurement to the next: no number comes twice


def write_frame(text):
    data = text.encode()
    connection.sendall(struct.pack(">I", len(data)) + data)


def listen():
    # In a thread of its own, so that waiting for an answer never delays a request.
    while len(header := stream.read(4)) == 4:
        number = int(stream.read(struct.unpack(">I", header)[0]))
        arrivals.put((number, time.monotonic()))


def percentile(ordered, share):
    """The smallest of the values that at least this share of all values does not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def measure(rate, seconds):
    """Sends all requests on time. Returns how many, and the latencies of the answers in seconds."""
    due = {}
    sent, latencies = 0, []
    start = time.monotonic()
    for index in range(round(rate * seconds)):
        number = next(numbers)
        # The schedule is fixed beforehand. What delays one request does not shift the next.
        due[number] = start + index / rate
        time.sleep(max(0, due[number] - time.monotonic()))
        write_frame(str(number))
        sent += 1
    deadline = time.monotonic() + 1  # what has not come by then is counted as lost
    while due:
        try:
            number, arrived = arrivals.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if number in due:  # otherwise it belongs to an earlier measurement
            latencies.append(arrived - due.pop(number))
    return sent, latencies


threading.Thread(target=listen, daemon=True).start()
course.ready()

for op in course.ops():
    sent, latencies = measure(op["rate"], op["seconds"])
    if not latencies:
        course.fail(op, "no answers")
        continue
    micros = sorted(round(latency * 1e6) for latency in latencies)
    p50, p99 = percentile(micros, 0.5), percentile(micros, 0.99)
    course.ok(op, sent=sent, received=len(micros), p50_us=p50, p99_us=p99, max_us=micros[-1])

course.bye()
