"""Joins and leaves rooms: a filter chooses which topics are heard. Channels are NAME:TOPIC."""

import threading

import course
import resp

init = course.start()
prefix = init["name"] + ":"
redis = resp.Redis(init["endpoint"])
confirmed = threading.Semaphore(0)  # one release for each answer to (P)SUBSCRIBE, (P)UNSUBSCRIBE


def glob(filter):
    """The filter as a pattern of Redis. Letters with a meaning in such patterns lose it by a backslash."""
    escaped = "".join("\\" + c if c in "[]?\\^" else c for c in filter)
    return prefix + escaped.replace(".#", "*").replace("#", "*")  # "news.#" also means "news"


def listen():
    last = None
    while not course.stopped():
        try:
            kind, *rest = redis.read(timeout=0.2)
        except TimeoutError:
            continue  # nothing came; were we told to stop?
        if kind != "pmessage":
            confirmed.release()
            continue
        _, channel, body = rest
        if (channel, body) == last:
            continue  # Redis sends one copy for each pattern that matches, one behind the other
        last = channel, body
        # TODO: the pattern matched this topic. Does the filter match it, too? `*` of a pattern and
        # `*` of a filter do not mean the same. Work here.
        course.recv(topic=channel.removeprefix(prefix), body=body)


listener = threading.Thread(target=listen)
listener.start()
course.ready()

for op in course.ops():
    redis.send("PSUBSCRIBE" if op["do"] == "join" else "PUNSUBSCRIBE", glob(op["filter"]))
    confirmed.acquire(timeout=5)
    course.ok(op)

listener.join()
course.bye()
