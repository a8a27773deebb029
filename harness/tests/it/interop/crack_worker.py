"""A worker for `lab crack --over zeromq`, by hand: no code of the lab is in it.

python crack_worker.py TASKS RESULTS CONTROL, three addresses as the search shows them.
"""

import hashlib
import sys

import zmq

context = zmq.Context()
tasks, results, control = context.socket(zmq.PULL), context.socket(zmq.PUSH), context.socket(zmq.SUB)
for socket, address in zip((tasks, results, control), sys.argv[1:]):
    socket.connect(address)
control.subscribe("")


def word(alphabet, number):
    """0 is the first letter, then all words of two letters, and so on."""
    letters, number = "", number + 1
    while number:
        number -= 1
        letters = alphabet[number % len(alphabet)] + letters
        number //= len(alphabet)
    return letters


results.send_string("joined stranger")
poller = zmq.Poller()
poller.register(control, zmq.POLLIN)
poller.register(tasks, zmq.POLLIN)
while True:
    ready = dict(poller.poll())
    if control in ready and control.recv_multipart()[-1] == b"stop":
        break
    if tasks in ready:
        wanted, alphabet, start, count = tasks.recv_string().split(" ")
        words = (word(alphabet, int(start) + at) for at in range(int(count)))
        found = next((w for w in words if hashlib.sha1(w.encode()).hexdigest() == wanted), None)
        report = f"found {start} {count} {found}" if found else f"tried {start} {count}"
        results.send_string(f"{report} stranger")
results.send_string("left stranger")
