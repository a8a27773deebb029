"""A worker that gives up a task after some failed attempts, and keeps it as a dead letter.

A task that always fails must not hold up the rest, and must not vanish either: a person can read the
stream of dead letters, repair the cause and send the tasks again.
"""

import course
import resp

init = course.start()
stream, group, dead = f"{init['name']}:tasks", f"{init['name']}:workers", f"{init['name']}:dead"
consumer, attempts = f"worker-{init['index']}", init["attempts"]
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


def give_up(entry, body, tried, reason):
    # A transaction: after a crash the task is either pending or a dead letter, never both.
    redis.call("MULTI")
    redis.call("XADD", dead, "*", "entry", entry, "body", body, "attempts", tried, "reason", reason)
    redis.call("XACK", stream, group, entry)
    redis.call("EXEC")


def work(entry, body):
    for attempt in range(1, attempts + 1):
        try:
            course.effect(entry, body)
            redis.call("XACK", stream, group, entry)
            return
        except course.EffectFailed as refused:
            reason = str(refused)  # the last reason is kept: it says what stopped the task
            if attempt < attempts:
                course.wait_for_stop(0.02)  # a sink that was busy may be free then
    give_up(entry, body, attempts, reason)


course.ready()
for entry, task in entries():
    if "body" in task:
        work(entry, task["body"])
    else:  # more attempts would not help: there is nothing to try
        give_up(entry, "", 0, "no field body")
course.bye()
