"""A POSIX drive, served to the kernel at the other end of a port."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interop.drives import backend_posix, transport_posix, tree_posix, watcher_posix
from interop.drives.bulk import WANTS_BULK, Bulk
from interop.drives.constants import ROOT_ID
from interop.drives.metadata import Options
from interop.drives.mount import Mount
from interop.drives.names import to_linux
from interop.drives.replies import invalidate_entry, invalidate_inode
from interop.drives.server import BUFFER_SIZE
from wire.preamble import ECHO, MAGIC, PreambleScanner

assert sys.platform == "linux"


def serve(arguments: Namespace, options: Options) -> None:
    """Greet the guest, then serve until the mount is over (`interop.drives.__main__`).

    Raises DriveError, OSError.
    """
    with served(Path(arguments.root), options, arguments.first_node) as (backend, watcher):
        os.set_blocking(arguments.fd, True)
        transport = transport_posix.StreamTransport(arguments.fd, arguments.fd, BUFFER_SIZE)
        rest = greet(arguments.fd, bytes.fromhex(arguments.nonce))
        transport.prefill(rest)
        print("serving", flush=True)  # the service's first word of it
        if arguments.recovering:
            _forget_all(transport, os.fsencode(arguments.root))
        mount = Mount(
            transport,
            backend,
            options,
            backend.watches,
            watcher,
            on_state=_tell_state,
            has_replayer=True,
            takes_ahead=True,
        )
        if arguments.bulk is not None:
            mount.server.bulk = Bulk(arguments.bulk)
            mount.server.on_worth = lambda: print(WANTS_BULK, flush=True)  # for the service
        mount.serve()


@contextmanager
def served(
    root: Path,
    options: Options,
    first_node: int = ROOT_ID + 1,
    *,
    limits: tree_posix.Limits | None = None,
) -> Iterator[tuple[backend_posix.PosixBackend, watcher_posix.InotifyWatcher | None]]:
    """A backend of `root`, and what watches it unless it cannot be. Raises OSError."""
    watcher = _watcher(root)
    try:
        limits = limits or tree_posix.Limits(watches=watcher_posix.default_limit())
        backend = backend_posix.PosixBackend(
            root, options, limits=limits, first_node=first_node, watcher=watcher
        )
        try:
            yield backend, watcher
        finally:
            backend.close()
    finally:
        if watcher is not None:
            watcher.close()


def _watcher(root: Path) -> watcher_posix.InotifyWatcher | None:
    """What watches `root`; None where its changes are not reported, or inotify has no room."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        watcher = watcher_posix.InotifyWatcher()
        if watcher.is_watchable(fd, os.fstat(fd).st_dev):
            return watcher
        watcher.close()
    except OSError:
        pass
    finally:
        os.close(fd)
    return None


def _tell_state(state: str, text: str) -> None:
    print(f"{state}: {text}" if text else state, flush=True)  # for the service


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
