"""The words of strerror(3) for errors that a path can meet. Pure.

glibc's English text, so that a command says the same whichever C library or host it runs on.
"""

from __future__ import annotations

import errno
import os

_TEXTS = {
    errno.E2BIG: "Argument list too long",
    errno.EACCES: "Permission denied",
    errno.EAGAIN: "Resource temporarily unavailable",
    errno.ECONNREFUSED: "Connection refused",
    errno.ECONNRESET: "Connection reset by peer",
    errno.EFBIG: "File too large",
    errno.EINVAL: "Invalid argument",
    errno.EIO: "Input/output error",
    errno.ELOOP: "Too many levels of symbolic links",
    errno.ENAMETOOLONG: "File name too long",
    errno.ENOEXEC: "Exec format error",
    errno.ENOENT: "No such file or directory",
    errno.ENOMEM: "Cannot allocate memory",
    errno.ENOSPC: "No space left on device",
    errno.ENOTDIR: "Not a directory",
    errno.EPERM: "Operation not permitted",
    errno.EPROTO: "Protocol error",
}


def strerror(number: int) -> str:
    """What the error number `number` (errno(3)) means; the host's words for a rare one."""
    return _TEXTS.get(number) or os.strerror(number)
