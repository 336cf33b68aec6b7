"""Errors of the wire layer: what can be wrong with what a peer, or the other system, has sent."""

from __future__ import annotations

import errno


class WireError(Exception):
    """Root of everything that this layer can raise: decoding bytes, translating names."""


class FrameError(WireError):
    """A frame breaks docs/protocol.md §2; the connection it came on cannot be trusted further."""


class MessageError(WireError):
    """A message's payload is not a known, well-typed message (docs/protocol.md §3)."""


class FlowError(WireError):
    """A peer sent more stream bytes than it had credit for (docs/protocol.md §4)."""


class PathError(WireError):
    """A path of one system has no counterpart on the other, or could not be looked at.

    `path` is the path as it was given, `reason` what is wrong with it, `hint` what the user can
    do, `number` the errno(3) value that says it in a Linux program's terms.
    """

    def __init__(
        self, path: str, reason: str, *, hint: str = "", number: int = errno.EINVAL
    ) -> None:
        super().__init__(f"'{path}' {reason}")
        self.path = path
        self.reason = reason
        self.hint = hint
        self.number = number

    def about(self, path: str) -> PathError:
        """The same of `path`, for which the path that this one is about was put together."""
        return PathError(path, self.reason, hint=self.hint, number=self.number)


class ArgumentError(WireError):
    """Text that no Windows process can be given: its argument, or a variable's name or value.

    `text` is the offending text, `reason` what is wrong, `hint` and `number` as in PathError.
    """

    def __init__(
        self, text: str, reason: str, *, hint: str = "", number: int = errno.EINVAL
    ) -> None:
        super().__init__(f"{text!r:.80} {reason}")
        self.text = text
        self.reason = reason
        self.hint = hint
        self.number = number
