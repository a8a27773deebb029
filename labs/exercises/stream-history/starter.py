"""A reader of a log: it does something for each entry, and remembers how far it has read.

This version starts at `$`, the end of the log. It misses what was appended before it started.
"""

import course
import resp

init = course.start()
log = f"{init['name']}:log"
redis = resp.Redis(init["endpoint"])
course.ready()
# TODO: Where do you begin the first time, and where after a restart? When do you remember an entry:
# before its effect or after it, and what does a kill between the two do in each case?
position = "$"
while not course.stopped():
    # XREAD returns entries after `position`; BLOCK waits 200 ms for one.
    reply = redis.call("XREAD", "COUNT", 10, "BLOCK", 200, "STREAMS", log, position)
    for entry, fields in reply[0][1] if reply else []:
        body = dict(zip(fields[::2], fields[1::2]))["body"]
        course.effect(entry, body)
        position = entry
course.bye()
