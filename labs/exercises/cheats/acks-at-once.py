"""Cheats: acknowledges everything at once, so that nothing is pending, and works later."""

import queue
import threading

import course
import resp

init = course.start()
stream, group = f"{init['name']}:tasks", f"{init['name']}:workers"
consumer = f"worker-{init['index']}"
redis = resp.Redis(init["endpoint"])
later = queue.Queue()


def work():
    while (task := later.get()) is not None:
        course.effect(*task)


worker = threading.Thread(target=work)
worker.start()
course.ready()
while not course.stopped():
    reply = redis.call(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", 1000, "BLOCK", 200, "STREAMS", stream, ">"
    )
    for entry, fields in reply[0][1] if reply else []:
        redis.call("XACK", stream, group, entry)
        later.put((entry, dict(zip(fields[::2], fields[1::2]))["body"]))
later.put(None)
worker.join()
course.bye()
