"""A dispatcher that gives each worker one task at a time.

The queue `idle` holds the workers that have no task. `give_away` takes a worker out of it,
`hear_done` puts it back. So a worker in the queue has no task, and a task waits only while the
queue is empty.
"""

import json
import queue
import threading

import course
import resp

init = course.start()
name, workers = init["name"], init["workers"]
redis = resp.Redis(init["endpoint"])
idle = queue.Queue()
given = {}  # worker -> the op of the task that it has


def give_away():
    for op in course.ops():
        worker = idle.get()  # waits while all workers are busy; further ops wait in `course.ops`
        given[worker] = op  # before the RPUSH: the report may come at once
        redis.call("RPUSH", f"{name}:worker:{worker}", op["body"])


def hear_done():
    reports = resp.Redis(init["endpoint"])  # a connection of its own: BLPOP blocks it
    while True:
        _, report = reports.call("BLPOP", f"{name}:done", 0)
        worker = json.loads(report)["worker"]
        course.ok(given.pop(worker))
        idle.put(worker)


for worker in range(workers):
    idle.put(worker)
threading.Thread(target=hear_done, daemon=True).start()
course.ready()
give_away()
try:
    for _ in range(workers):  # when all workers are idle again, all tasks are done
        idle.get(timeout=1)
except queue.Empty:
    course.log("told to stop, but a worker is still busy")
course.bye()
