"""Stop all: several workers search; when one has found it, all of them stop.

In this version the worker that has found it says so, and nobody listens.
"""

import course
import resp

init = course.start()
name = init["name"]
tasks = resp.Redis(init["endpoint"])
course.ready()

# TODO: A connection that has subscribed cannot take tasks from a list. How can a worker take tasks
# and hear "stop"? And from which moment on does it hear "stop" for sure?
while not course.stopped():
    popped = tasks.call("BLPOP", f"{name}:tasks", 0.2)  # waits for at most 0.2 seconds
    if popped is None:
        continue  # no task at the moment
    task = popped[1]
    answer = course.effect(task, task)
    if answer.get("match"):
        tasks.call("RPUSH", f"{name}:results", task)
        tasks.call("PUBLISH", f"{name}:control", "stop")
        break

course.bye()
