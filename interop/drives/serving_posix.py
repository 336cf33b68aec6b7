"""A POSIX drive, served to the kernel at the other end of a port."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from interop.drives import backend_posix, transport_posix
from interop.drives.constants import ROOT_ID
from interop.drives.metadata import Options
from interop.drives.names import to_linux
from interop.drives.replies import invalidate_entry, invalidate_inode
from interop.drives.server import BUFFER_SIZE, Server
from wire.preamble import ECHO, MAGIC, PreambleScanner

assert sys.platform != "win32"


def serve(arguments: Namespace, options: Options) -> None:
    """Greet the guest, then serve until the mount is over (`interop.drives.__main__`).

    Raises DriveError, OSError.
    """
    backend = backend_posix.PosixBackend(
        Path(arguments.root), options, first_node=arguments.first_node
    )
    try:
        os.set_blocking(arguments.fd, True)
        transport = transport_posix.StreamTransport(arguments.fd, arguments.fd, BUFFER_SIZE)
        rest = greet(arguments.fd, bytes.fromhex(arguments.nonce))
        transport.prefill(rest)
        print("serving", flush=True)  # the service's first word of it
        if arguments.recovering:
            _forget_all(transport, os.fsencode(arguments.root))
        Server(transport, backend, options).serve()
    finally:
        backend.close()


def _forget_all(transport: transport_posix.StreamTransport, root: bytes) -> None:
    """Make the kernel look everything up again that it knows from a server before this one.

    Dropping a name drops all that is below it.
    """
    for name in os.listdir(root):
        transport.send([invalidate_entry(ROOT_ID, to_linux(name))])
    transport.send([invalidate_inode(ROOT_ID)])


def greet(fd: int, nonce: bytes) -> bytes:
    """Say who is there, throw away what an earlier server was sent; returns what follows.

    Raises OSError; EOFError where the machine ends meanwhile.
    """
    os.write(fd, MAGIC + nonce)
    scanner = PreambleScanner(ECHO, nonce)
    while True:
        data = os.read(fd, BUFFER_SIZE)
        if not data:
            raise EOFError("the machine has ended")
        rest = scanner.feed(data)
        if rest is not None:
            return rest
