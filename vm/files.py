"""Small files of ours: written whole or not at all, and for this user's eyes only."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

PRIVATE_MODE = 0o600

T = TypeVar("T")

PAUSES_S: Sequence[float] = (
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6) if sys.platform == "win32" else ()
)
"""How long to wait, each time, for another program to let go of a file. Virus scanners and
indexers open what has just been written, and on Windows nobody can rename or delete it then."""

_HELD = frozenset({5, 32, 33})
"""winerror.h: ERROR_ACCESS_DENIED, which is what a delete under way gives, SHARING_VIOLATION,
LOCK_VIOLATION."""

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
        replace(Path(temporary), path)
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


def replace(source: Path, target: Path) -> None:
    """`os.replace`, for which on Windows a virus scanner is waited. Raises OSError."""
    patiently(target, lambda: os.replace(source, target))


def delete(path: Path) -> None:
    """Remove a file that may not be there; as patient as `replace`. Raises OSError."""
    patiently(path, lambda: path.unlink(missing_ok=True))


def read(path: Path) -> bytes:
    """The whole of a file; as patient as `replace`. Raises OSError."""
    return patiently(path, path.read_bytes)


def await_access(path: Path) -> None:
    """Wait, as `replace` does, until `path` can be opened for writing. Raises OSError.

    For files that another program is to open, whose errors say less.
    """
    patiently(path, lambda: path.open("r+b").close())


def is_held(error: OSError) -> bool:
    """Whether `error` may be another program's doing, and over soon. Pure.

    open() tells no Windows error, only EACCES, which stands for all of them.
    """
    number = getattr(error, "winerror", None)
    return number in _HELD if number is not None else error.errno == errno.EACCES


def patiently(path: Path, operation: Callable[[], T], pauses_s: Sequence[float] = PAUSES_S) -> T:
    """Do `operation`, again after each of `pauses_s` while another program holds `path`.

    Returns what it returns. Raises OSError: the operation's own, or that the file is held.
    """
    for pause_s in pauses_s:
        try:
            return operation()
        except OSError as error:
            if not is_held(error):
                raise
            time.sleep(pause_s)
    try:
        return operation()
    except OSError as error:
        if not pauses_s or not is_held(error):
            raise
        reason = "another program, perhaps a virus scanner, does not let go of it"
        raise PermissionError(errno.EACCES, reason, str(path)) from error


def start_log(path: Path) -> None:
    """Make `path` an empty file that only this user can read; what it held becomes `path`.1.

    The directory must exist. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        replace(path, path.with_name(f"{path.name}.1"))
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
