"""Receives messages over TCP: four bytes of length (big-endian), then that many bytes of UTF-8."""

import socket

import course

HEADER = 4


def take(received):
    """The first message in these bytes and the bytes behind it; None when it is not complete."""
    if len(received) < HEADER:
        return None
    end = HEADER + int.from_bytes(received[:HEADER], "big")
    if len(received) < end:
        return None
    return received[HEADER:end].decode(), received[end:]


init = course.start()
host, port = init["endpoint"].rsplit(":", 1)
connection = socket.create_connection((host, int(port)))
connection.settimeout(0.2)  # so that a stop is noticed while nothing comes
course.ready()

# TCP carries bytes, not messages: what one `recv` returns can begin and end anywhere. So the bytes
# are kept until a whole frame is there, and what is behind that frame is kept for the next one.
received = b""
while not course.stopped():
    try:
        data = connection.recv(65536)
    except TimeoutError:
        continue
    except ConnectionError:
        break
    if not data:
        break  # the other side has closed the connection
    received += data
    while frame := take(received):  # there can be several
        body, received = frame
        course.recv(body=body)

course.wait_for_stop()
course.bye()
