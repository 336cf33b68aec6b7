"""The words of strerror(3) for errors that a path can meet. Pure.

glibc's English text, so that a command says the same whichever C library or host it runs on.
"""

from __future__ import annotations

import errno
import os

_TEXTS = {
    errno.E2BIG: "Argument list too long",
    errno.EACCES: "Permission denied",
    errno.EINVAL: "Invalid argument",
    errno.EIO: "Input/output error",
    errno.ELOOP: "Too many levels of symbolic links",
    errno.ENAMETOOLONG: "File name too long",
    errno.ENOENT: "No such file or directory",
    errno.ENOMEM: "Cannot allocate memory",
    errno.ENOTDIR: "Not a directory",
    errno.EPERM: "Operation not permitted",
}


def strerror(number: int) -> str:
    """What the error number `number` (errno(3)) means; the host's words for a rare one."""
    return _TEXTS.get(number) or os.strerror(number)
