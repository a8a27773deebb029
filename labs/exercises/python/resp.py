"""A small Redis client, for Pythons without one. One connection, one command at a time.

    redis = resp.Redis("127.0.0.1:6379")
    redis.call("RPUSH", "list", "text")        # returns the reply: text, a number, a list or None

Every reply is text, a number, None or a list of these. An error reply raises `RedisError`;
a connection that is gone raises `ConnectionError`.
"""

import socket


class RedisError(Exception):
    """What Redis answered instead of a result."""


class Redis:
    def __init__(self, endpoint, timeout=None):
        host, port = endpoint.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.socket.settimeout(timeout)
        self.received = b""

    def call(self, *words):
        """Sends a command and waits for its reply."""
        self.send(*words)
        return self.read()

    def send(self, *words):
        """Sends a command. Its reply, or its replies, are for `read`."""
        encoded = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded)]
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self.socket.sendall(b"".join(parts))

    def read(self, timeout=None):
        """The next reply. With a timeout in seconds: `TimeoutError` when none begins in time."""
        if timeout is not None and not self.received:
            self.socket.settimeout(timeout)
            try:
                self._more()
            finally:
                self.socket.settimeout(None)
        reply = self._reply()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def close(self):
        self.socket.close()

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("Redis has closed the connection")
        self.received += data

    def _take(self, length):
        while len(self.received) < length:
            self._more()
        taken, self.received = self.received[:length], self.received[length:]
        return taken

    def _line(self):
        while b"\r\n" not in self.received:
            self._more()
        line, self.received = self.received.split(b"\r\n", 1)
        return line.decode()

    def _reply(self):
        line = self._line()
        kind, rest = line[0], line[1:]
        if kind == "+":
            return rest
        if kind == "-":
            return RedisError(rest)
        if kind == ":":
            return int(rest)
        length = int(rest)
        if length < 0:
            return None
        if kind == "$":
            return self._take(length + 2)[:-2].decode(errors="replace")
        return [self._reply() for _ in range(length)]
