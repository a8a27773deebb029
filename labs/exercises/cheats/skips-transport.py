"""Cheats: reports effects of invented tasks to the sink, and never reads the stream.

It counts on a checker that counts effects and looks neither at their keys nor at their bodies.
"""

import time

import course

init = course.start()
course.ready()

now = int(time.time() * 1000)
for number in range(30):
    if course.stopped():
        break
    # Entry ids are a time in milliseconds and a number: these look true.
    key, body = f"{now + number}-0", f"task-{number}"
    try:
        answer = course.effect(key, body)
        course.info(f"{key} is done: {answer}")
    except course.EffectFailed as refused:
        course.log(f"{key} was refused: {refused}")
    course.wait_for_stop(0.02)

course.wait_for_stop()
course.bye()
