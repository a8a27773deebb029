"""Sends requests over a Redis list and waits for the replies."""

import collections
import json
import threading
import time
import uuid

import course
import resp

init = course.start()
requests = init["name"] + ":requests"
reply_to = f"{init['name']}:replies:{uuid.uuid4()}"  # a list of our own
waiting = collections.deque()  # ops without a reply, and when their time is up; the oldest first
lock = threading.Lock()
all_asked = threading.Event()


def ask(redis, op):
    with lock:
        waiting.append((op, time.monotonic() + op["timeout_ms"] / 1000))
    id = str(uuid.uuid4())
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
            # TODO: do replies come in the order of the requests? Does every request get exactly
            # one? How can you tell which request this reply belongs to? Work here and in `ask`.
            with lock:
                op = waiting.popleft()[0] if waiting else None
            if op is not None:
                course.ok(op, body=reply["body"])
        with lock:
            late = [entry for entry in waiting if entry[1] <= now]
            for entry in late:
                waiting.remove(entry)
                course.fail(entry[0], "timeout")


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
