"""Stop all: several workers search; when one has found it, all of them stop."""

import threading

import course
import resp

init = course.start()
name = init["name"]
tasks = resp.Redis(init["endpoint"])
# A connection that has subscribed cannot take tasks, so there is a second one.
control = resp.Redis(init["endpoint"])
# `call` returns when Redis has confirmed the subscription: from now on no stop is missed.
control.call("SUBSCRIBE", f"{name}:control")

found = threading.Event()


def listen():
    while control.read() != ["message", f"{name}:control", "stop"]:
        pass
    found.set()


threading.Thread(target=listen, daemon=True).start()
course.ready()

# `found` is looked at between two tasks: the one in hand is finished, and no other is taken.
while not found.is_set() and not course.stopped():
    # Waits for a short time only, so that a worker without tasks looks at `found`, too.
    popped = tasks.call("BLPOP", f"{name}:tasks", 0.1)
    if popped is None:
        continue
    task = popped[1]
    answer = course.effect(task, task)
    if answer.get("match"):
        # The result first: a program that hears "stop" may look for it at once.
        tasks.call("RPUSH", f"{name}:results", task)
        tasks.call("PUBLISH", f"{name}:control", "stop")
        break  # the own "stop" comes back, too, but there is no reason to wait for it

course.bye()
