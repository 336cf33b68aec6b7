"""A Windows drive, served to the kernel at the other end of a port."""

from __future__ import annotations

import os
import socket
import sys
from argparse import Namespace

from interop.drives import backend_windows, transport_windows, watcher_windows
from interop.drives.constants import ROOT_ID
from interop.drives.metadata import Options
from interop.drives.mount import Mount
from interop.drives.names import to_linux
from interop.drives.replies import invalidate_entry, invalidate_inode
from interop.drives.server import BUFFER_SIZE
from wire.preamble import ECHO, MAGIC, PreambleScanner

assert sys.platform == "win32"

WANTS_PORT = "wants-port"
"""What the service is told first, with this process's number: to share the port with it."""


def serve(arguments: Namespace, options: Options) -> None:
    """Greet the guest, then serve until the mount is over (`interop.drives.__main__`).

    Raises DriveError, OSError.
    """
    with _shared_port() as sock:
        serve_over(sock, arguments, options)


def _shared_port() -> socket.socket:
    """The port that the service shares over standard input (Winsock, WSADuplicateSocket).

    With this very process: the one that the service started may be but a venv's launcher, whose
    child this is. What comes is of no use to any other process.
    """
    print(WANTS_PORT, os.getpid(), flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError("the service has ended")
    return socket.fromshare(bytes.fromhex(line))


def serve_over(sock: socket.socket, arguments: Namespace, options: Options) -> None:
    """Serve `arguments.root` over a connected socket. Raises DriveError, OSError."""
    sock.setblocking(True)
    watcher = _watcher(arguments.root)
    backend = backend_windows.WindowsBackend(
        arguments.root, options, first_node=arguments.first_node, watcher=watcher
    )
    try:
        transport = transport_windows.SocketTransport(sock, BUFFER_SIZE)
        transport.prefill(_greet(sock, bytes.fromhex(arguments.nonce)))
        print("serving", flush=True)  # the service's first word of it
        if arguments.recovering:
            _forget_all(transport, arguments.root)
        Mount(
            transport,
            backend,
            options,
            backend.watches,
            watcher,
            on_state=_tell_state,
            has_replayer=True,
        ).serve()
    finally:
        backend.close()
        if watcher is not None:
            watcher.close()


def _watcher(root: str) -> watcher_windows.SubtreeWatcher | None:
    """What watches `root`; None where its changes are not reported."""
    try:
        return watcher_windows.SubtreeWatcher(root)
    except OSError:
        return None


def _tell_state(state: str, text: str) -> None:
    print(f"{state}: {text}" if text else state, flush=True)  # for the service


def _forget_all(transport: transport_windows.SocketTransport, root: str) -> None:
    """Make the kernel look everything up again that it knows from a server before this one.

    Dropping a name drops all that is below it.
    """
    for name in os.listdir(root):
        linux = to_linux(name.encode("utf-8", "surrogatepass"))
        transport.send([invalidate_entry(ROOT_ID, linux)])
    transport.send([invalidate_inode(ROOT_ID)])


def _greet(sock: socket.socket, nonce: bytes) -> bytes:
    """Say who is there, throw away what an earlier server was sent; returns what follows.

    Raises OSError; EOFError where the machine ends meanwhile.
    """
    sock.sendall(MAGIC + nonce)
    scanner = PreambleScanner(ECHO, nonce)
    while True:
        data = sock.recv(BUFFER_SIZE)
        if not data:
            raise EOFError("the machine has ended")
        rest = scanner.feed(data)
        if rest is not None:
            return rest
