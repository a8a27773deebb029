"""Sends requests over a Redis list and matches the replies, which come in any order or not at all."""

import json
import threading
import time
import uuid

import course
import resp

init = course.start()
requests = init["name"] + ":requests"
reply_to = f"{init['name']}:replies:{uuid.uuid4()}"  # a list of our own
waiting = {}  # id of a request → its op, and when its time is up
lock = threading.Lock()
all_asked = threading.Event()


def ask(redis, op):
    id = str(uuid.uuid4())  # the body cannot be the id: two requests can have the same
    with lock:  # before the request is sent: the reply can be here before RPUSH returns
        waiting[id] = op, time.monotonic() + op["timeout_ms"] / 1000
    redis.call("RPUSH", requests, json.dumps({"id": id, "reply_to": reply_to, "body": op["body"]}))


def replies(redis):
    """All replies that are on the list; waits a little for the first."""
    first = redis.call("BLPOP", reply_to, 0.1)
    if first is not None:
        yield first[1]
        yield from redis.call("LPOP", reply_to, 1000) or []


def receive(redis):
    while waiting or not all_asked.is_set():
        now = time.monotonic()
        for text in replies(redis):
            reply = json.loads(text)
            with lock:
                op, _ = waiting.pop(reply["id"], (None, None))
            if op is not None:  # otherwise it is too late, or comes a second time
                course.ok(op, body=reply["body"])
        # Time-outs after the replies: what came in time is delivered, even if we read it late.
        with lock:
            late = [id for id, (_, deadline) in waiting.items() if deadline <= now]
            for id in late:
                course.fail(waiting.pop(id)[0], "timeout")


# A connection for each thread: a connection that waits in BLPOP can do nothing else.
receiver = threading.Thread(target=receive, args=[resp.Redis(init["endpoint"])])
receiver.start()
sender = resp.Redis(init["endpoint"])
course.ready()

for op in course.ops():
    ask(sender, op)

all_asked.set()
receiver.join()
sender.call("DEL", reply_to)
course.bye()
