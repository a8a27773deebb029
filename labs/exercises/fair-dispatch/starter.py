"""A dispatcher: it gives the tasks that it is told to its workers, and says `ok` when one is done.

This version gives every task away at once, to one worker after the other. The tasks pile up at
the slow worker. Change `give_away`.
"""

import json
import queue
import threading

import course
import resp

init = course.start()
name, workers = init["name"], init["workers"]
redis = resp.Redis(init["endpoint"])
given = [queue.Queue() for _ in range(workers)]  # for each worker, the tasks that it has, oldest first


def give_away():
    # TODO: When may a worker be given its next task, and who knows which worker that is? A task
    # that no worker can take yet has to wait here.
    for number, op in enumerate(course.ops()):
        worker = number % workers
        given[worker].put(op)
        redis.call("RPUSH", f"{name}:worker:{worker}", op["body"])


def hear_done():
    """Takes the reports of the workers. A thread: `give_away` waits for ops meanwhile."""
    reports = resp.Redis(init["endpoint"])  # a connection of its own: BLPOP blocks it
    while True:
        _, report = reports.call("BLPOP", f"{name}:done", 0)
        worker = json.loads(report)["worker"]
        course.ok(given[worker].get())


threading.Thread(target=hear_done, daemon=True).start()
course.ready()
give_away()
course.bye()
