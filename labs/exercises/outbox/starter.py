"""A sender of orders: it confirms each order that it is told, and publishes it to a stream.

This version keeps nothing. An order is lost when the broker is away, or when the program is killed
between `ok` and the XADD.
"""

import uuid

import course
import resp

init = course.start()
orders = f"{init['name']}:orders"
redis = None


def publish(body):
    global redis
    try:
        if redis is None:
            redis = resp.Redis(init["endpoint"], timeout=5)
        redis.call("XADD", orders, "*", "id", uuid.uuid4().hex, "body", body)
    except OSError as error:
        course.log("not published:", error)
        redis = None  # the next order opens a new connection


course.ready()
# TODO: `ok` is a promise: this order will be published. Where must the order be before you promise
# that? Who publishes it, when the broker is away now? And what does the program do first when it is
# started again, and which ids may it use then?
for op in course.ops():
    course.ok(op)
    publish(op["body"])
course.bye()
