"""Errors of the client: shown by shell.main, with the exit status they stand for."""

from __future__ import annotations

from wire.common import Failure


class ClientError(Exception):
    """A command cannot be carried out. `code` is a name from wire.failures.

    `may_repeat`: nothing of it was done, and the same again may well succeed.
    """

    def __init__(
        self, code: str, message: str, *, hint: str = "", may_repeat: bool = False
    ) -> None:
        super().__init__(message)
        self.may_repeat = may_repeat
        self.code = code
        self.message = message
        self.hint = hint

    @classmethod
    def from_failure(cls, failure: Failure) -> ClientError:
        """The error that the service's Failure stands for."""
        return cls(failure.code, failure.message, hint=failure.hint)

    def to_failure(self) -> Failure:
        """What shell.render shows."""
        return Failure(code=self.code, message=self.message, hint=self.hint)
