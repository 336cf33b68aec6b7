"""Errors of the host's side of the network."""

from __future__ import annotations


class NetworkError(Exception):
    """The network cannot be had as the user wants it; `hint` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
