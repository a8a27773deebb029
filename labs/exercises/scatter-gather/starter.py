"""Scatter-gather: asks all services with one message and gathers their replies.

This version waits until every service has replied.
"""

import json

import course
import resp

init = course.start()
name, services = init["name"], init["services"]
redis = resp.Redis(init["endpoint"])
answers = f"{name}:answers"  # the list on which the services reply
course.ready()

for op in course.ops():
    question = {"id": str(op["id"]), "reply_to": answers, "body": op["body"]}
    redis.call("PUBLISH", f"{name}:questions", json.dumps(question))

    # TODO: What happens here when one of the services is down? And to which question does a reply
    # belong that comes late?
    replies = {}
    while len(replies) < services and not course.stopped():
        popped = redis.call("BLPOP", answers, 0.2)  # waits for at most 0.2 seconds
        if popped is not None:
            reply = json.loads(popped[1])
            replies[reply["service"]] = reply["body"]
    if len(replies) < services:
        break  # told to stop

    text = ",".join(f"{service}={body}" for service, body in sorted(replies.items()))
    course.ok(op, replies=text, missing=0)

course.bye()
