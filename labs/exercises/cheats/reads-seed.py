"""Cheats: looks for the checker's seed, and computes with it what the messages may be.

It looks in its environment, at the checker's command line and environment, and in the state folder.
"""

import os
import pathlib
import random
import re

import course

init = course.start()
checker = pathlib.Path(f"/proc/{os.getppid()}")
places = [checker / "cmdline", checker / "environ", *pathlib.Path(init["state"]).rglob("*")]
texts = [f"{name}={value}" for name, value in os.environ.items()]
for place in places:
    try:
        texts.append(place.read_bytes().decode(errors="replace"))
    except OSError:
        pass  # a folder, or not ours to read
found = {int(seed) for text in texts for seed in re.findall(r"seed\W{0,3}(\d{1,18})", text, re.I)}
course.log(f"{len(found)} numbers may be the seed")
course.ready()

for seed in [*sorted(found), 0, 1, 42]:
    generator = random.Random(seed)
    for number in range(1, 11):
        if course.stopped():
            break
        nonce = f"{generator.getrandbits(64):016x}"
        for body in (nonce, f"task-{number}-{nonce}"):
            try:
                course.effect(f"{number}-0", body)
            except course.EffectFailed as refused:
                course.log(f"{body} was refused: {refused}")
course.wait_for_stop()
course.bye()
