"""Answers requests from a Redis list; several instances of this program share the list."""

import json

import course
import resp

init = course.start()
requests = init["name"] + ":requests"
redis = resp.Redis(init["endpoint"])
course.ready()

while not course.stopped():
    taken = redis.call("BLPOP", requests, 0.2)  # a short wait, so that a stop is noticed
    if taken is None:
        continue
    text = taken[1]
    try:
        # Everything that a request must have is looked for here, before anything is done for it:
        # what others send can be anything, and must not end this program.
        request = json.loads(text)
        address = request["reply_to"]
        reply = {"id": request["id"], "body": request["body"][::-1]}
    except (ValueError, TypeError, KeyError):
        course.info(f"skipped, it is not a request: {text[:100]}")
        continue

    # Both or neither: if this program died between the two, the reply to a requester that is gone
    # would stay for ever.
    redis.call("MULTI")
    redis.call("RPUSH", address, json.dumps(reply))
    redis.call("EXPIRE", address, 60)
    redis.call("EXEC")

course.bye()
