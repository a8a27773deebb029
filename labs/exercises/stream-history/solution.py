"""A reader of a log that continues where it was, also after a kill.

A log keeps its entries, and does not know its readers. So the reader has to remember its position.
It does so after each effect: an effect that was not answered is repeated, and none is left out.
"""

import os

import course
import resp

init = course.start()
log = f"{init['name']}:log"
path = os.path.join(init["state"], "position")
redis = resp.Redis(init["endpoint"])


def remember(position):
    """Replaces the file in one step: a reader finds the old position or the new one, never half a one."""
    with open(path + ".new", "w") as file:
        file.write(position)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def remembered():
    if not os.path.exists(path):
        return "0"  # the first time: from the beginning
    with open(path) as file:
        return file.read()


course.ready()
position = remembered()
while not course.stopped():
    # XREAD returns entries after `position`, so what is done does not come again.
    reply = redis.call("XREAD", "COUNT", 10, "BLOCK", 200, "STREAMS", log, position)
    for entry, fields in reply[0][1] if reply else []:
        body = dict(zip(fields[::2], fields[1::2]))["body"]
        course.effect(entry, body)
        remember(entry)  # not before the effect: a kill between the two would leave a gap
        position = entry
        if course.stopped():
            break  # the rest of these entries is read again after the next start
course.bye()
