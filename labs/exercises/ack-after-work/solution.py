"""A worker that acknowledges a task when it is done, and first repeats what it had in hand.

Redis keeps a list of pending entries for each consumer: taken, not acknowledged. A program that was
killed finds its task there when it is started again under the same name.
"""

import course
import resp

init = course.start()
stream, group = f"{init['name']}:tasks", f"{init['name']}:workers"
consumer = f"worker-{init['index']}"
redis = resp.Redis(init["endpoint"])
course.ready()

position = "0"  # an id instead of `>`: this consumer's own pending entries
while not course.stopped():
    # One entry at a time: a second one would wait here while another worker may be idle.
    reply = redis.call(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, position
    )
    if not reply or not reply[0][1]:
        position = ">"  # nothing is pending any more: from now on new entries
        continue
    entry, fields = reply[0][1][0]
    task = dict(zip(fields[::2], fields[1::2]))
    course.effect(entry, task["body"])
    # Only now: until here a kill leaves the entry pending.
    redis.call("XACK", stream, group, entry)

course.bye()
