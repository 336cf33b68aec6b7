"""Whatever a guest sends, the server answers it or ends that mount, and stays in its root."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interop.drives import ahead, backend_posix
from interop.drives.bulk import SLOT_BYTES, SLOTS, Bulk, make_file
from interop.drives.constants import MAJOR, Opcode
from interop.drives.errors import ProtocolError, VersionError
from interop.drives.metadata import Options
from interop.drives.mount import Mount
from interop.drives.protocol import DECODERS, HEADER_SIZE, decode
from interop.drives.replay import CODE

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

_HEADER = struct.Struct("<IIQQIIIH2x")
_OPCODES = st.sampled_from([*sorted(DECODERS), 0, 99, CODE, ahead.CODE])
_NAMES = st.sampled_from(
    [b"a", b"b", b"new", b"link", b"..", b".", b"", b"a/b", b"\xff", b"x" * 300]
)
_INTEGERS = st.integers(0, 2**64 - 1) | st.integers(0, 8)


def request(
    opcode: int, body: bytes, node: int = 1, length: int | None = None, pid: int = 1
) -> bytes:
    size = HEADER_SIZE + len(body) if length is None else length
    return _HEADER.pack(size, opcode, 7, node, 0, 0, pid, 0) + body


INIT = request(Opcode.INIT, struct.pack("<IIII", MAJOR, 38, 1 << 16, 0xFFFF_FFFF))

bodies = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda name: name + b"\0", _NAMES),
    st.builds(lambda one, other: one + b"\0" + other + b"\0", _NAMES, _NAMES),
    st.builds(
        lambda numbers, name: struct.pack(f"<{len(numbers)}Q", *numbers) + name + b"\0",
        st.lists(_INTEGERS, max_size=11),
        _NAMES,
    ),
    st.builds(
        lambda numbers: struct.pack(f"<{len(numbers)}Q", *numbers),
        st.lists(_INTEGERS, min_size=1, max_size=11),
    ),
)
_ANY_REQUESTS = st.builds(
    request, _OPCODES, bodies, st.integers(0, 6), st.none() | st.integers(0, 300), st.just(1)
)
_SLOTS = st.integers(0, SLOTS + 1) | st.just(0xFFFF_FFFF)
_SIZES = st.sampled_from([0, 1, 4096, SLOT_BYTES, SLOT_BYTES + 1, 0xFFFF_FFFF])
_IN_SLOTS = st.builds(
    lambda opcode, node, size, slot: request(
        opcode, struct.pack("<QQIIQII", 0, 0, size, 0, 0, 0, slot), node
    ),
    st.sampled_from([Opcode.READ, Opcode.WRITE]),
    st.integers(1, 6),
    _SIZES,
    _SLOTS,
)
_CREATED = st.just(request(Opcode.CREATE, struct.pack("<IIII", 2, 0o644, 0, 0) + b"new\0"))
requests = _ANY_REQUESTS | _IN_SLOTS | _CREATED


class Replay:
    """A port with requests that are there already; keeps what is sent."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._messages = [INIT, *messages]
        self.sent: list[bytes] = []

    def attend(self, fd: int) -> None:
        pass

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        return memoryview(self._messages.pop(0)) if self._messages else None

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        self.sent.append(b"".join(parts))

    def notify(self, messages: Sequence[bytes]) -> None:
        self.sent += messages


@given(st.binary(max_size=300) | requests)
def test_any_message_is_decoded_or_refused(message: bytes) -> None:
    try:
        header, _ = decode(memoryview(message))
    except ProtocolError:
        return
    assert header.length == len(message)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, max_size=12), st.sampled_from(["", "metadata", "ro"]))
def test_any_conversation_is_answered_or_ends_the_mount(
    tmp_path: Path, messages: list[bytes], text: str
) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True, exist_ok=True)
    (tmp_path / "outside").write_bytes(b"outside")
    if not (root / "link").is_symlink():
        (root / "link").unlink(missing_ok=True)
        (root / "link").symlink_to("../outside")
    make_file(tmp_path / "bulk")
    bulk = Bulk(str(tmp_path / "bulk"))
    options = Options.parse(text)
    backend = backend_posix.PosixBackend(root, options)
    port = Replay(messages)
    try:
        mount = Mount(port, backend, options, backend.watches, None, has_replayer=True)
        mount.server.ahead = ahead.Ahead(
            backend.watches.nodes, backend, lambda: True, mount.server.attributes
        )
        mount.server.bulk = bulk
        mount.serve()
    except (ProtocolError, VersionError):
        pass
    finally:
        backend.close()
        bulk.close()
    for sent in port.sent:
        assert int.from_bytes(sent[:4], "little") == len(sent)
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bulk", "outside", "root"]


@given(st.integers(-2, 2**32), st.integers(0, 2**32))
def test_a_slot_is_never_beyond_its_file(
    tmp_path_factory: pytest.TempPathFactory, number: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("bulk") / "file"
    make_file(path)
    bulk = Bulk(str(path))
    try:
        room = bulk.slot(number, size)
    except ProtocolError:
        assert not 1 <= number <= SLOTS or size > SLOT_BYTES
    else:
        assert len(room) == size
        room.release()
    finally:
        bulk.close()
