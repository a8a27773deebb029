"""A worker that may get the same task several times, as different entries with the same id.

This version has no memory: it does a task again for each entry.
"""

import course
import resp

init = course.start()
stream, group = f"{init['name']}:tasks", f"{init['name']}:workers"
consumer = f"worker-{init['index']}"
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
    # TODO: Do a task only if its id is new. Where do you remember the ids, so that a restart does not
    # forget them? How many do you keep, and which one do you drop?
    course.effect(task["id"], task["body"])
    redis.call("XACK", stream, group, entry)
course.bye()
