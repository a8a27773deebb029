"""A worker whose work can fail: the sink refuses some tasks.

This version tries again for ever. All tasks behind one that always fails wait for ever, too.
An entry that is not a task at all goes to the dead letters already.
"""

import course
import resp

init = course.start()
stream, group, dead = f"{init['name']}:tasks", f"{init['name']}:workers", f"{init['name']}:dead"
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


def work(entry, body):
    # TODO: How often do you try? What happens to the task after that, and to its entry in NAME:tasks?
    # `course.effect` raises `course.EffectFailed`, whose text is the sink's reason.
    while not course.stopped():
        try:
            course.effect(entry, body)
            redis.call("XACK", stream, group, entry)
            return
        except course.EffectFailed as refused:
            course.log(f"{entry} failed: {refused}")
            course.wait_for_stop(0.02)


course.ready()
for entry, task in entries():
    if "body" in task:
        work(entry, task["body"])
    else:
        redis.call("XADD", dead, "*", "entry", entry, "body", "", "attempts", 0, "reason", "no field body")
        redis.call("XACK", stream, group, entry)
course.bye()
