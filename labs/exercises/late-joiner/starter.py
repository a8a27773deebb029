"""Subscribes to a Redis channel, reports what it hears, and subscribes again after a lost connection."""

import time

import course
import resp

init = course.start()
channel = init["name"] + ":news"


def subscribe():
    """Connects and subscribes. Tries for 10 s."""
    give_up = time.monotonic() + 10
    while True:
        try:
            redis = resp.Redis(init["endpoint"])
            redis.send("SUBSCRIBE", channel)
            # TODO: the command is sent, but when does Redis begin to send us messages?
            # How do we learn that it has begun? Work here.
            return redis
        except OSError:
            if time.monotonic() > give_up or course.wait_for_stop(0.05):
                raise


def listen(redis):
    """Reports messages until the stop, or until the connection is lost, which raises an OSError."""
    while not course.stopped():
        try:
            kind, _, body = redis.read(timeout=0.2)
        except TimeoutError:
            continue  # nothing came; were we told to stop?
        if kind == "message":
            course.recv(body=body)


while not course.stopped():
    redis = subscribe()
    course.ready()
    try:
        listen(redis)
    except OSError as error:
        course.log("lost the connection:", error)

course.bye()
