"""A reliable pipeline: no task is lost, whatever happens to a worker or to its connection."""

import json
import sys

import course
import resp

init = course.start()
name, consumer = init["name"], f"worker-{init['index']}"
stream, group, results = f"{name}:tasks", f"{name}:workers", f"{name}:results"
redis = None


def call(*words):
    """Sends a command. When the connection is lost: connects and sends it again.

    The first one may have been carried out. Each command of this program can bear that: a second
    result of a task has the same value, a second XACK has no effect, and entries whose delivery
    was cut off stay pending and are claimed later, like those of a dead worker.
    """
    global redis
    while True:
        try:
            if redis is None:
                redis = resp.Redis(init["endpoint"], timeout=5)
            return redis.call(*words)
        except OSError as error:
            course.log("connecting again:", error)
            redis = None
            if course.wait_for_stop(0.05):
                course.bye()
                sys.exit()


def next_task():
    """The next task as [entry id, fields], or None."""
    # First what another worker has had for too long. Its time starts again, so no third worker
    # claims it now. Only one at a time: others would claim what waits here for its turn.
    idle = init["claim_ms"]
    claimed = call("XAUTOCLAIM", stream, group, consumer, idle, "0-0", "COUNT", 1)[1]
    if claimed:
        return claimed[0]
    reply = call(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, ">"
    )
    return reply[0][1][0] if reply else None


call("PING")
course.ready()

while not course.stopped():
    taken = next_task()
    if taken is None:
        continue
    entry, fields = taken
    task = dict(zip(fields[::2], fields[1::2]))
    answer = course.effect(entry, task["body"])
    call("RPUSH", results, json.dumps({"task": entry, "value": answer["value"]}))
    # Last: as long as the task is pending, another worker can do it again.
    call("XACK", stream, group, entry)

course.bye()
