"""A worker of a consumer group: it takes tasks from a stream, does them and acknowledges them.

This version acknowledges a task before it does the task. A task that it has acknowledged and not
done is lost when the program is killed.
"""

import course
import resp

init = course.start()
stream, group = f"{init['name']}:tasks", f"{init['name']}:workers"
consumer = f"worker-{init['index']}"
redis = resp.Redis(init["endpoint"])
course.ready()

while not course.stopped():
    # `>` asks for entries that no worker of the group has taken yet. BLOCK waits 200 ms for one.
    reply = redis.call(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "BLOCK", 200, "STREAMS", stream, ">"
    )
    if not reply:
        continue
    # One stream, one entry, whose fields are a flat list: name, value, name, value.
    entry, fields = reply[0][1][0]
    task = dict(zip(fields[::2], fields[1::2]))

    # TODO: What does Redis know of this task if the program is killed between these two lines, or
    # within the second? And after a restart: who asks for the task that was in hand then?
    redis.call("XACK", stream, group, entry)
    course.effect(entry, task["body"])

course.bye()
