"""Whether a client may stay: one of another version may not, nor one that comes too late.

After an upgrade of the package the old service still runs. If nothing runs in it, it ends for the
first command of the new version, which starts its own; else it says what is in the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from service.errors import ServiceError
from wire import failures
from wire.client import Greeting
from wire.common import PROTOCOL_VERSION
from wire.version import VERSION

Admit = Callable[[Greeting], ServiceError | None]
"""Why a client is turned away; None if it is not."""


def admit_ours(greeting: Greeting) -> ServiceError | None:
    """Turn away whoever is of another version. Pure."""
    return None if _is_ours(greeting) else _foreign(greeting, "")


class Admission:
    """Turns clients away, or makes way for them. An `Admit`."""

    def __init__(
        self, is_ending: Callable[[], bool], what_runs: Callable[[], str], end: Callable[[], None]
    ) -> None:
        """`what_runs` names what would be lost if the service were ended by `end`, or is ""."""
        self._is_ending = is_ending
        self._what_runs = what_runs
        self._end = end

    def __call__(self, greeting: Greeting) -> ServiceError | None:
        """service.admission.Admit."""
        if self._is_ending():
            return _ending()
        if _is_ours(greeting):
            return None
        running = self._what_runs()
        if running:
            return _foreign(greeting, running)
        self._end()
        return _ending()


@contextlib.contextmanager
def unless_ending(is_ending: Callable[[], bool]) -> Iterator[None]:
    """What nothing has come of by its end, or that fails, is refused if the service is ending.

    Its client came just in time to be admitted, and repeats it with the service that comes next.
    """
    try:
        yield
    except ServiceError:
        if not is_ending():
            raise
    if is_ending():
        raise _ending()


def _is_ours(greeting: Greeting) -> bool:
    return (greeting.protocol, greeting.version) == (PROTOCOL_VERSION, VERSION)


def _ending() -> ServiceError:
    return ServiceError(
        failures.SERVICE_ENDING, "the Isthmus service is ending", hint="Run the command again."
    )


def _foreign(greeting: Greeting, running: str) -> ServiceError:
    still = f" and still runs {running}" if running else ""
    return ServiceError(
        failures.VERSION_MISMATCH,
        f"this command is version {greeting.version}, the running service is {VERSION}{still}",
        hint="When nothing runs in it any more, the next command replaces it. "
        "`isthmus --shutdown` ends it at once, with all that runs in it.",
    )
