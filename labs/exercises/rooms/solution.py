"""Joins and leaves rooms: a filter chooses which topics are heard. Channels are NAME:TOPIC."""

import threading

import course
import resp

init = course.start()
prefix = init["name"] + ":"
joined = set()
lock = threading.Lock()  # for `joined`; held while a message is reported, so that none is after a leave


def matches(filter, topic):
    """`*` is one level; `#`, which is the last level, is any number of levels, also none."""
    wanted, levels = filter.split("."), topic.split(".")
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]  # whatever is behind it matches
    return len(wanted) == len(levels) and all(w in ("*", level) for w, level in zip(wanted, levels))


def listen():
    while not course.stopped():
        try:
            _, _, channel, body = redis.read(timeout=0.2)
        except TimeoutError:
            continue  # nothing came; were we told to stop?
        topic = channel.removeprefix(prefix)
        with lock:
            if any(matches(filter, topic) for filter in joined):
                course.recv(topic=topic, body=body)


# One pattern for all topics, and the exact choice is made here: so each message comes once, whatever
# the filters are, and no letter in a filter means something to Redis. The price is that all messages
# cross the network. A pattern for each filter would save that, but brings a copy for each pattern.
redis = resp.Redis(init["endpoint"])
redis.call("PSUBSCRIBE", prefix + "*")
listener = threading.Thread(target=listen)
listener.start()
course.ready()

for op in course.ops():
    with lock:
        if op["do"] == "join":
            joined.add(op["filter"])
        else:
            joined.discard(op["filter"])
    course.ok(op)

listener.join()
course.bye()
