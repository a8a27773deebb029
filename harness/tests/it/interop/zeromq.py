"""pyzmq, which is libzmq, at the other end. Receivers and publishers bind."""

import zmq
from common import ACTION, ADDRESS, given, got, say

context = zmq.Context()


def socket(kind):
    made = context.socket(kind)
    made.linger = 10_000
    return made


def bind(made):
    made.bind("tcp://127.0.0.1:*")
    say(f"bound {made.last_endpoint.decode()}")


if ACTION == "send":
    push = socket(zmq.PUSH)
    push.connect(ADDRESS)
    for _, body in given():
        push.send(body)
elif ACTION == "receive":
    pull = socket(zmq.PULL)
    bind(pull)
    while not got("-", pull.recv()):
        pass
elif ACTION == "publish":
    # An XPUB is a PUB that shows subscriptions: the first is waited for.
    publisher = socket(zmq.XPUB)
    bind(publisher)
    assert publisher.recv() == b"\x01"
    for topic, body in given():
        publisher.send_multipart([topic.encode(), body])
elif ACTION == "subscribe":
    subscriber = socket(zmq.SUB)
    subscriber.connect(ADDRESS)
    subscriber.subscribe(b"")
    say("ready")
    while True:
        topic, body = subscriber.recv_multipart()
        if got(topic.decode(), body):
            break
context.destroy(linger=10_000)
