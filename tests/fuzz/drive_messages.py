"""Coverage-guided fuzzing of what a guest can send a drive's server; not part of `make test`.

    pip install atheris
    python tests/fuzz/drive_messages.py CORPUS -max_total_time=600

Each input is a whole conversation: after INIT, any requests, served by the real server from a
directory of its own. It has to answer each or end the mount, and may raise nothing else than what
ends a mount, nor touch anything outside. The arguments are libFuzzer's.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["interop.drives"]):
    from interop.drives import ahead, backend_posix, replay
    from interop.drives.bulk import Bulk, make_file
    from interop.drives.constants import MAJOR, ROOT_ID, Opcode
    from interop.drives.errors import ProtocolError, VersionError
    from interop.drives.metadata import Options
    from interop.drives.mount import Mount
    from interop.drives.protocol import DECODERS, HEADER_SIZE

_HEADER = struct.Struct("<IIQQIIIH2x")
_OPCODES = [*sorted(DECODERS), 0, 99, replay.CODE, ahead.CODE]
_OPTIONS = [Options.parse(text) for text in ("", "metadata", "ro", "metadata,umask=022,uid=7")]
_NAMES = [b"a", b"b", b"new", b"link", b"file", b"..", b".", b"", b"a/b", b"\xff", b"x" * 300]


def _request(opcode: int, body: bytes, node: int = ROOT_ID, size: int | None = None) -> bytes:
    size = HEADER_SIZE + len(body) if size is None else size
    return _HEADER.pack(size, opcode, 7, node, 0, 0, 1, 0) + body


_INIT = _request(Opcode.INIT, struct.pack("<IIII", MAJOR, 38, 1 << 16, 0xFFFF_FFFF))


class _Port:
    """Requests that are there already; what is sent has to be whole messages."""

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = [_INIT, *messages]

    def attend(self, fd: int) -> None:
        """Nothing else is waited for."""

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        return memoryview(self._messages.pop(0)) if self._messages else None

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        sent = b"".join(parts)
        assert int.from_bytes(sent[:4], "little") == len(sent)

    def notify(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self.send([message])


def _message(data: Any) -> bytes:
    """One request: mostly one that has the form of its opcode's, sometimes anything."""
    if data.ConsumeProbability() < 0.1:
        return bytes(data.ConsumeBytes(data.ConsumeIntInRange(0, 200)))
    opcode = _OPCODES[data.ConsumeIntInRange(0, len(_OPCODES) - 1)]
    words = data.ConsumeIntInRange(0, 12)
    body = b"".join(
        data.ConsumeIntInRange(0, 2**64 - 1 if data.ConsumeBool() else 8).to_bytes(8, "little")
        for _ in range(words)
    )
    for _ in range(data.ConsumeIntInRange(0, 2)):
        body += _NAMES[data.ConsumeIntInRange(0, len(_NAMES) - 1)] + b"\0"
    body += bytes(data.ConsumeBytes(data.ConsumeIntInRange(0, 40)))
    size = data.ConsumeIntInRange(0, 400) if data.ConsumeProbability() < 0.05 else None
    return _request(opcode, body, data.ConsumeIntInRange(0, 8), size)


def _make_root(directory: Path) -> Path:
    root = directory / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / "link").symlink_to("../outside")
    return root


class _Target:
    """Serves each input from one directory, which therefore becomes what they have made of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._outside = directory / "outside"
        self._outside.write_bytes(b"outside")
        self._root = _make_root(directory)
        make_file(directory / "bulk")
        self._bulk = Bulk(str(directory / "bulk"))

    def __call__(self, text: bytes) -> None:
        data = atheris.FuzzedDataProvider(text)
        options = _OPTIONS[data.ConsumeIntInRange(0, len(_OPTIONS) - 1)]
        messages: list[bytes] = []
        while data.remaining_bytes() and len(messages) < 40:
            messages.append(_message(data))
        backend = backend_posix.PosixBackend(self._root, options)
        try:
            port = _Port(messages)
            mount = Mount(port, backend, options, backend.watches, None, has_replayer=True)
            mount.server.ahead = ahead.Ahead(
                backend.watches.nodes, backend, lambda: True, mount.server.attributes
            )
            mount.server.bulk = self._bulk
            mount.serve()
        except (ProtocolError, VersionError):
            pass
        finally:
            backend.close()
        assert self._outside.read_bytes() == b"outside"
        assert sorted(os.listdir(self._directory)) == ["bulk", "outside", "root"]


def main() -> None:
    """Fuzz until libFuzzer has had enough, or something is found."""
    with tempfile.TemporaryDirectory(prefix="isthmus-fuzz-") as name:
        target = _Target(Path(name))
        atheris.Setup(sys.argv, target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
