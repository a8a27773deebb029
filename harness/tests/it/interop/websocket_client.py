"""The `websockets` library at the other end. Receivers and publishers are servers."""

import threading

from common import ACTION, ADDRESS, PATIENCE, given, got, say
from websockets.sync.client import connect
from websockets.sync.server import serve

LARGEST = 16 << 20
SETTINGS = {"max_size": LARGEST, "compression": None, "open_timeout": PATIENCE, "ping_timeout": PATIENCE}


def server(talk):
    """Serves one client, then ends."""
    done = threading.Event()

    def once(connection):
        try:
            talk(connection)
            connection.close()
        finally:
            done.set()

    with serve(once, "127.0.0.1", 0, **SETTINGS) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        host, port = serving.socket.getsockname()
        say(f"bound {host}:{port}")
        done.wait()
        serving.shutdown()


def url():
    return ADDRESS if "://" in ADDRESS else f"ws://{ADDRESS}"


def publish(connection):
    # The filter is a text message, and is answered.
    assert isinstance(connection.recv(), str)
    connection.send("ok")
    for topic, body in given():
        connection.send(topic.encode() + b"\n" + body)


def receive(connection):
    while not got("-", connection.recv()):
        pass


if ACTION == "receive":
    server(receive)
elif ACTION == "publish":
    server(publish)
else:
    with connect(url(), **SETTINGS) as connection:
        if ACTION == "send":
            for _, body in given():
                connection.send(body)
        else:
            connection.send("all")
            assert connection.recv() == "ok"
            say("ready")
            while True:
                topic, body = connection.recv().split(b"\n", 1)
                if got(topic.decode(), body):
                    break
