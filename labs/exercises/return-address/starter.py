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
        request = json.loads(text)
        reply = {"id": request["id"], "body": request["body"][::-1]}
    except (ValueError, TypeError, KeyError):
        course.info(f"skipped, it is not a request: {text[:100]}")
        continue

    # TODO: there are several requesters. Who reads this list, and whose reply is it? Work here.
    address = init["name"] + ":replies"
    redis.call("RPUSH", address, json.dumps(reply))
    redis.call("EXPIRE", address, 60)

course.bye()
