"""A worker that does each id once, although it may get the id several times.

The ids of the last tasks are in a Redis list, newest first. It survives a restart, and LTRIM
keeps it short.
"""

import course
import resp

init = course.start()
stream, group = f"{init['name']}:tasks", f"{init['name']}:workers"
consumer = f"worker-{init['index']}"
seen, remember = f"{init['name']}:seen", init["remember"]
redis = resp.Redis(init["endpoint"])


def entries():
    """The entries, one at a time: first those that were pending at the start, then new ones."""
    position = "0"
    while not course.stopped():
        reply = redis.call(
            "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, position
        )
        if not reply or not reply[0][1]:
            position = ">"
            continue
        entry, fields = reply[0][1][0]
        yield entry, dict(zip(fields[::2], fields[1::2]))


course.ready()
for entry, task in entries():
    if redis.call("LPOS", seen, task["id"]) is not None:
        redis.call("XACK", stream, group, entry)  # a duplicate is done already: acknowledge it, too
        continue
    course.effect(task["id"], task["body"])
    # A transaction: no crash can leave an id that is remembered but pending, or the reverse.
    # A crash before it repeats the effect; remembering before the effect could lose it instead.
    redis.call("MULTI")
    redis.call("LPUSH", seen, task["id"])
    redis.call("LTRIM", seen, 0, remember - 1)  # drops the oldest
    redis.call("XACK", stream, group, entry)
    redis.call("EXEC")
course.bye()
