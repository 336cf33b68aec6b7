"""Errors of the agent: each becomes a wire.common.Failure reply."""

from __future__ import annotations

from wire import failures
from wire.common import Failure


class AgentError(Exception):
    """A request cannot be carried out. `code` is a name from wire.failures."""

    def __init__(self, message: str, *, code: str = failures.AGENT_FAILED, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def to_failure(self) -> Failure:
        """The reply that tells the host."""
        return Failure(code=self.code, message=self.message, hint=self.hint)


def failure_of(error: Exception) -> Failure:
    """The reply for any exception that handling a request raised."""
    if isinstance(error, AgentError):
        return error.to_failure()
    if isinstance(error, OSError):
        return Failure(code=failures.AGENT_FAILED, message=str(error))
    return Failure(code=failures.INTERNAL, message=f"{type(error).__name__}: {error}")
