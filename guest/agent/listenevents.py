"""The kernel's word that a TCP socket has started or stopped to listen.

From the trace event `sock:inet_sock_set_state`, in a tracing instance of our own, so that users
may trace what they like beside it. The event does not say in which network namespace; what it
announces is a reason to look (guest.agent.sockdiag), not a fact.

Source: Documentation/trace/events.rst, ftrace.rst ("Instances", "buffer_percent").
"""

from __future__ import annotations

import os
import socket

from guest.agent.sockdiag import Endpoint, Listener

TRACING = "/sys/kernel/tracing"
_INSTANCE = "isthmus"
_TCP_LISTEN = 10
_BUFFER_KIB = 64
"""Per processor. Events that do not fit are no loss: those that did cause a look."""
_READ_BYTES = 16 * 1024


class ListenEvents:
    """An open trace_pipe. Raises OSError where the kernel does not trace."""

    def __init__(self, tracing: str = TRACING) -> None:
        base = f"{tracing}/instances/{_INSTANCE}"
        if not os.path.isdir(base):  # an earlier agent's is as good
            os.mkdir(base)
        event = f"{base}/events/sock/inet_sock_set_state"
        _write(f"{base}/buffer_size_kb", str(_BUFFER_KIB))
        # Else poll(2) waits until half the buffer is full.
        _write(f"{base}/buffer_percent", "0")
        _write(f"{event}/filter", f"newstate=={_TCP_LISTEN} || oldstate=={_TCP_LISTEN}")
        _write(f"{event}/enable", "1")
        self.fd = os.open(f"{base}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def read(self, known: set[Listener]) -> tuple[bool, set[Endpoint]]:
        """Take what has been announced since: always a reason to look; who is about to listen."""
        text = b""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                break
            text += data
        return True, parse_events(text.decode("ascii", "replace"))

    def close(self) -> None:
        """Stop reading; the instance stays for the next agent."""
        os.close(self.fd)


def parse_events(text: str) -> set[Endpoint]:
    """The sockets that start to listen, of the lines of a trace_pipe. Pure."""
    found: set[Endpoint] = set()
    for line in text.splitlines():
        _, marker, rest = line.partition("inet_sock_set_state: ")
        fields = dict(word.partition("=")[::2] for word in rest.split())
        if not marker or fields.get("newstate") != "TCP_LISTEN":
            continue
        try:
            if fields["family"] == "AF_INET":
                family, address = socket.AF_INET, fields["saddr"]
            else:
                family, address = socket.AF_INET6, fields["saddrv6"]
            found.add((family, socket.inet_pton(family, address), int(fields["sport"])))
        except (KeyError, ValueError, OSError):
            continue  # a line cut short by a full buffer
    return found


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
