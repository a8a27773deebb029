"""Cheats: prints what the checker may want to hear, and touches neither the transport nor the sink."""

import json
import sys


def say(kind, **fields):
    print(json.dumps({"type": kind, **fields}), flush=True)


def main():
    init = json.loads(sys.stdin.readline())
    say("ready")
    # It guesses what the tasks may look like: numbered ids, a body that names them.
    for number in range(1, 21):
        say("recv", body=f"task-{number}", topic=f"{init['name']}:tasks")
        say("info", text=f"effect {number}-0 is done and acknowledged")
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "stop":
            break
        # To whatever it is told to do, it says that it is done.
        if message["type"] == "op":
            say("ok", id=message["id"], body=message.get("body", ""), missing=0)
    say("bye")


main()
