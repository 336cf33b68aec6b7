"""Small files of ours: written whole or not at all, and for this user's eyes only."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

PRIVATE_MODE = 0o600

# ECMA-48: control sequences (5.4) and escapes of two characters, such as RIS.
_TERMINAL_COMMAND = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[0-Z\\-~])")


def write_atomically(path: Path, content: bytes) -> None:
    """Make `path` hold `content`: a reader sees the old content or the new, never a part.

    That holds across a crash of the host, and once this has returned it is the new content.
    The directory must exist. Raises OSError, and then `path` is as it was.
    """
    # mkstemp makes the file with mode 0600 and a name that nobody can have prepared.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames in `path` last. Windows has no such call, and its renames are journalled."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def start_log(path: Path) -> None:
    """Make `path` an empty file that only this user can read; what it held becomes `path`.1.

    The directory must exist. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, path.with_name(f"{path.name}.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    os.close(os.open(path, flags, PRIVATE_MODE))


def read_tail(path: Path, maximum_bytes: int) -> str:
    """The last lines of `path`, at most `maximum_bytes` of them; "" if it cannot be read.

    Bytes that are not UTF-8 are replaced, and so are control characters but line ends: the text
    comes from the guest, and may be shown in a user's terminal.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - maximum_bytes))
            data = file.read(maximum_bytes)
    except OSError:
        return ""
    return printable(data.decode("utf-8", "replace"))


def printable(text: str) -> str:
    """`text` without terminal commands: other control characters become "?", line ends "\\n".

    Firmware clears its screen with the former, and the text may end up on a user's terminal.
    """
    lines = _TERMINAL_COMMAND.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(
        character if character in "\n\t" or character.isprintable() else "?" for character in lines
    )
