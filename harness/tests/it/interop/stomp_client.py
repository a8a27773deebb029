"""stomp.py at the other end."""

import threading

import stomp
from common import ACTION, COUNT, NAME, PATIENCE, PATTERN, door, given, got, say

host, port, user, password = door("stomp", 61613)
# Left to itself, stomp.py asks for a virtual host named like the server, and
# decodes bodies as UTF-8.
connection = stomp.Connection12([(host, port)], vhost="/", auto_decode=False, timeout=PATIENCE)
done = threading.Event()
receipts = threading.Semaphore(0)


class Listener(stomp.ConnectionListener):
    def on_receipt(self, frame):
        receipts.release()

    def on_error(self, frame):
        raise SystemExit(f"ERROR {frame.headers} {frame.body}")

    def on_message(self, frame):
        if frame.headers.get("ack"):
            connection.ack(frame.headers["ack"], receipt="acked")
            # The receiving thread is this one: the receipt cannot be waited for here.
        body = frame.body if isinstance(frame.body, bytes) else frame.body.encode()
        topic = frame.headers["destination"].removeprefix(f"/topic/{NAME}.")
        if got(topic if PATTERN == "pubsub" else "-", body):
            done.set()


connection.set_listener("", Listener())
connection.connect(user, password, wait=True)
destination = f"/topic/{NAME}." if PATTERN == "pubsub" else f"/queue/{NAME}"
if ACTION in ("send", "publish"):
    sent = 0
    for topic, body in given():
        to = destination + topic if PATTERN == "pubsub" else destination
        headers = {"persistent": "true"} if PATTERN == "queue" else {}
        connection.send(to, body, headers=headers, receipt=f"sent-{sent}")
        sent += 1
    for _ in range(sent):
        assert receipts.acquire(timeout=PATIENCE), "RabbitMQ gave no receipt"
else:
    pattern = destination + "#" if PATTERN == "pubsub" else destination
    ack = "client-individual" if PATTERN == "queue" else "auto"
    headers = {"receipt": "subscribed"}
    if PATTERN == "queue":
        headers["prefetch-count"] = str(COUNT)
    connection.subscribe(pattern, id="1", ack=ack, headers=headers)
    assert receipts.acquire(timeout=PATIENCE), "RabbitMQ gave no receipt"
    say("ready")
    assert done.wait(PATIENCE), "not everything came"
    if PATTERN == "queue":
        for _ in range(COUNT):
            assert receipts.acquire(timeout=PATIENCE), "RabbitMQ gave no receipt of an ack"
connection.disconnect()
