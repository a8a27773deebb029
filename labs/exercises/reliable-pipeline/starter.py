"""A reliable pipeline: no task is lost, whatever happens to a worker or to its connection.

This version connects again, but it acknowledges a task when it takes it.
"""

import json
import sys

import course
import resp

init = course.start()
name, consumer = init["name"], f"worker-{init['index']}"
stream, group, results = f"{name}:tasks", f"{name}:workers", f"{name}:results"
redis = None


def call(*words):
    """Sends a command. When the connection is lost: connects and sends it again."""
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


call("PING")
course.ready()

while not course.stopped():
    reply = call(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, ">"
    )
    if reply is None:
        continue  # no task at the moment
    entry, fields = reply[0][1][0]  # the first entry of the first stream
    task = dict(zip(fields[::2], fields[1::2]))

    # TODO: Go through the following commands. What is lost when the worker is killed after the
    # first, after the second? Who does the task of a worker that does not come back?
    call("XACK", stream, group, entry)
    answer = course.effect(entry, task["body"])
    call("RPUSH", results, json.dumps({"task": entry, "value": answer["value"]}))

course.bye()
