"""Opening files of a distribution from outside it, without ever leaving its root.

A distribution's tree is untrusted: any component may be a symbolic link, absolute or with `..`,
and may change while it is walked. Each step opens one component relative to a directory
descriptor with O_NOFOLLOW, so no race leads out (what openat2(2) with RESOLVE_IN_ROOT does in
the kernel; Python has no call for it).
"""

from __future__ import annotations

import errno
import os
import stat

_MAX_LINKS = 40
"""The kernel's own limit for one look-up (path_resolution(7))."""


def open_beneath(root: str, path: str, flags: int, mode: int = 0o644) -> int:
    """Open `path` as a process chrooted to `root` would; the descriptor is close-on-exec.

    Raises OSError as open(2).
    """
    parts = _split(path)
    stack = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    links = 0
    try:
        while parts:
            part = parts.pop(0)
            if part == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            target = _link_target(stack[-1], part, may_be_missing=not parts)
            if target is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                parts = _split(target) + parts
            elif parts:
                directory = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                stack.append(os.open(part, directory, dir_fd=stack[-1]))
            else:
                safe = flags | os.O_NOFOLLOW | os.O_CLOEXEC
                return os.open(part, safe, mode, dir_fd=stack[-1])
        return os.open(".", flags | os.O_CLOEXEC, mode, dir_fd=stack[-1])
    finally:
        for fd in stack:
            os.close(fd)


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link_target(directory: int, name: str, *, may_be_missing: bool) -> str | None:
    """Where the symbolic link `name` points; None if it is not a link."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        if may_be_missing:
            return None  # the caller's flags decide whether it is created
        raise
    if not stat.S_ISLNK(status.st_mode):
        return None
    return os.readlink(name, dir_fd=directory)


def read_beneath(root: str, path: str, limit: int = 1024 * 1024) -> str:
    """The text of a regular file, "" if there is none; at most `limit` bytes of it."""
    try:
        # O_NONBLOCK: a named pipe in the file's place must not block the agent.
        fd = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, limit).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def write_beneath(root: str, path: str, text: str) -> None:
    """Replace a file's content; a symbolic link in its place is replaced, not followed.

    Raises OSError as open(2) and rename(2).
    """
    parent, _, name = path.rpartition("/")
    directory = open_beneath(root, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        temporary = f".{name}.isthmus"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(temporary, flags, 0o644, dir_fd=directory)
        except FileExistsError:  # left by an agent that died in between
            os.unlink(temporary, dir_fd=directory)
            fd = os.open(temporary, flags, 0o644, dir_fd=directory)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        _replace(directory, temporary, name)
    finally:
        os.close(directory)


def keep_beneath(root: str, path: str, text: str) -> None:
    """See to it that a file has this content; one that has is not written. Raises OSError.

    To write a file is, under emulation, as much work as all else that a start does to a disk.
    """
    if read_beneath(root, path) != text:
        write_beneath(root, path, text)


def link_beneath(root: str, path: str, target: str) -> None:
    """Make `path` a symbolic link to `target`, replacing a file or link there. Raises OSError."""
    parent, _, name = path.rpartition("/")
    directory = open_beneath(root, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            if os.readlink(name, dir_fd=directory) == target:
                return
        except OSError:
            pass
        temporary = f".{name}.isthmus"
        try:
            os.symlink(target, temporary, dir_fd=directory)
        except FileExistsError:
            os.unlink(temporary, dir_fd=directory)
            os.symlink(target, temporary, dir_fd=directory)
        _replace(directory, temporary, name)
    finally:
        os.close(directory)


def _replace(directory: int, temporary: str, name: str) -> None:
    """Give a new file its name. Raises OSError, as when a directory is there, and removes it."""
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(temporary, dir_fd=directory)
        raise
