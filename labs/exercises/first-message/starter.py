"""Receives messages over TCP: four bytes of length (big-endian), then that many bytes of UTF-8."""

import socket

import course

init = course.start()
host, port = init["endpoint"].rsplit(":", 1)
connection = socket.create_connection((host, int(port)))
connection.settimeout(0.2)  # so that a stop is noticed while nothing comes
course.ready()

while not course.stopped():
    try:
        data = connection.recv(65536)
    except TimeoutError:
        continue
    except ConnectionError:
        break
    if not data:
        break  # the other side has closed the connection

    # TODO: is `data` always exactly one message? What else can one `recv` return?
    # Work here: find out where a message begins and where it ends.
    course.recv(body=data[4:].decode(errors="replace"))

course.wait_for_stop()
course.bye()
