"""The control lines of an exercise: one JSON object a line, on stdin and stdout.

Nothing here touches the messages themselves: those are yours to send and receive.
Print nothing else to stdout; `log` writes to stderr.
"""

import json
import queue
import socket
import sys
import threading

_lock, _sink_lock = threading.Lock(), threading.Lock()
_ops, _stopped = queue.Queue(), threading.Event()
_init, _sink = {}, None


class EffectFailed(Exception):
    """The sink refused an effect; the text is its reason."""


def _say(kind, **fields):
    with _lock:  # without `flush` the checker sees nothing until the program ends
        print(json.dumps({"type": kind, **fields}), flush=True)


def _listen():
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "op":
            _ops.put(message)
        elif message["type"] == "stop":
            break
    _stopped.set()
    _ops.put(None)


def start():
    """Waits for the `init` line and returns it as a dictionary."""
    _init.update(json.loads(sys.stdin.readline()))
    threading.Thread(target=_listen, daemon=True).start()
    return _init


def ready():
    _say("ready")


def recv(**fields):
    """Says that a message came: recv(body="…")."""
    _say("recv", **fields)


def ok(op, **fields):
    _say("ok", id=op["id"], **fields)


def fail(op, reason):
    _say("fail", id=op["id"], reason=reason)


def info(text):
    _say("info", text=text)


def bye():
    _say("bye")


def log(*words):
    print(*words, file=sys.stderr, flush=True)


def ops():
    """What the program is told to do, one after the other, until it is told to stop."""
    while (op := _ops.get()) is not None:
        yield op


def stopped():
    """Whether the program was told to stop."""
    return _stopped.is_set()


def wait_for_stop(seconds=None):
    return _stopped.wait(seconds)


def effect(key, body):
    """Does the work: tells the sink, and waits for its answer, which is returned."""
    global _sink
    with _sink_lock:
        if _sink is None:
            host, port = _init["sink"].rsplit(":", 1)
            _sink = socket.create_connection((host, int(port))).makefile("rw", encoding="utf-8", newline="\n")
        print(json.dumps({"type": "effect", "key": key, "body": body}), file=_sink, flush=True)
        answer = json.loads(_sink.readline() or '{"type": "fail", "reason": "the sink is gone"}')
    if answer["type"] != "ok":
        raise EffectFailed(answer.get("reason", ""))
    return answer
