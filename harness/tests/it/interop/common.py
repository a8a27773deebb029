"""What the clients here share. Each is called `PATTERN ACTION ADDRESS NAME COUNT`.

Messages come and go as lines, `TOPIC BODY`, the body in base64; the topic is `-`
where there is none. The first line out says `bound ADDRESS` or `ready`.
"""

import base64
import signal
import sys
from urllib.parse import parse_qs, unquote, urlsplit

# A client that waits for ever ends here: its test fails, and the others go on.
signal.alarm(240)
# So long a library may wait, in seconds: its own limits are too short for a busy machine.
PATIENCE = 200

PATTERN, ACTION, ADDRESS, NAME = sys.argv[1:5]
COUNT = int(sys.argv[5])

_left = COUNT


def given():
    """The messages to send."""
    for line in sys.stdin:
        topic, body = line.rstrip("\n").split(" ")
        yield topic, base64.b64decode(body)


def say(line):
    # In one piece: clients have several threads.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def got(topic, body):
    """Hands a message on; True after the last one. Probes do not count."""
    global _left
    say(f"{topic} {base64.b64encode(body).decode()}")
    _left -= topic != "probe"
    return _left == 0


def door(protocol, usual):
    """Host, port, user and password; another protocol's port stands in the fragment."""
    url = urlsplit(ADDRESS)
    named = parse_qs(url.fragment).get(protocol)
    port = int(named[0]) if named else url.port if url.scheme == protocol else usual
    return url.hostname, port, unquote(url.username or "guest"), unquote(url.password or "guest")
