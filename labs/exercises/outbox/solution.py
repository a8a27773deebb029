"""A sender of orders with an outbox: an order is on disk before it is confirmed.

`orders` in the state folder has one order a line. `published` has the number of lines that
are in the stream. A thread publishes the rest, for as long as it takes.
"""

import json
import os
import threading

import course
import resp

init = course.start()
stream = f"{init['name']}:orders"
orders_path = os.path.join(init["state"], "orders")
published_path = os.path.join(init["state"], "published")
outbox = []  # all orders; the line number is the id, also after a restart
published = 0  # how many of them are in the stream
changed = threading.Condition()  # guards both


def restore():
    """Reads the files, and cuts off half a line: its order was never confirmed."""
    global published
    with open(orders_path, "a+b") as file:
        file.seek(0)
        text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        file.truncate(len(whole))
    outbox.extend(json.loads(line) for line in whole.splitlines())
    if os.path.exists(published_path):
        with open(published_path) as file:
            published = int(file.read())


def replace(path, text):
    """Replaces a file in one step: there is the old text or the new one, never half of it."""
    with open(path + ".new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def publish():
    """Publishes the orders in turn. Each is tried until the broker has answered."""
    global published
    redis = None
    while True:
        with changed:
            changed.wait_for(lambda: published < len(outbox))
            number, body = published + 1, outbox[published]
        try:
            if redis is None:
                redis = resp.Redis(init["endpoint"], timeout=5)
            redis.call("XADD", stream, "*", "id", f"order-{number}", "body", body)
        except OSError as error:
            # The order may be in the stream or not: its answer did not come. So it is published
            # again, with the same id, and a reader can tell.
            course.log("try again:", error)
            redis = None
            course.wait_for_stop(0.05)
            continue
        replace(published_path, str(number))
        with changed:
            published = number
            changed.notify_all()


restore()
threading.Thread(target=publish, daemon=True).start()
course.ready()  # without a broker, too
with open(orders_path, "ab") as file:
    for op in course.ops():
        file.write(json.dumps(op["body"]).encode() + b"\n")
        file.flush()  # out of this program
        os.fsync(file.fileno())  # and out of the system's memory: on the disk
        course.ok(op)
        with changed:
            outbox.append(op["body"])
            changed.notify_all()
with changed:
    changed.wait_for(lambda: published == len(outbox), timeout=3)  # the rest stays on disk
course.bye()
