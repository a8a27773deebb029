"""Scatter-gather: asks all services with one message and gathers the replies that come in time."""

import json
import time
import uuid

import course
import resp

init = course.start()
name, services = init["name"], init["services"]
redis = resp.Redis(init["endpoint"])
answers = f"{name}:answers"  # the list on which the services reply
course.ready()


def ask(body, seconds):
    """Asks all services. Returns the replies that came in time, by service."""
    deadline = time.monotonic() + seconds
    question = uuid.uuid4().hex  # never used again: a late reply cannot match a later question
    message = {"id": question, "reply_to": answers, "body": body}
    redis.call("PUBLISH", f"{name}:questions", json.dumps(message))

    replies = {}  # by service, so that a service that replies twice counts once
    while len(replies) < services:
        # What is left of the time for all replies. A full time-out for each of them could add up.
        left = deadline - time.monotonic()
        if left < 0.001:  # Redis takes 0 for "without a time-out"
            break
        popped = redis.call("BLPOP", answers, f"{left:.3f}")
        if popped is not None:
            reply = json.loads(popped[1])
            if reply["id"] == question:  # otherwise it is a late reply to an earlier question
                replies.setdefault(reply["service"], reply["body"])
    return replies


for op in course.ops():
    replies = ask(op["body"], op["timeout_ms"] / 1000)
    text = ",".join(f"{service}={body}" for service, body in sorted(replies.items()))
    # Some replies are better than none, if the answer says how many are missing.
    course.ok(op, replies=text, missing=services - len(replies))

course.bye()
