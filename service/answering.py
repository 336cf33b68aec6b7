"""How a request, of a client or of the agent, gets its one answer whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from service.errors import ServiceError
from wire import failures
from wire.codec import Message
from wire.errors import WireError

log = logging.getLogger(__name__)


async def answer_request(
    handle: Callable[[Message], Awaitable[Message]], request: Message
) -> Message:
    """What `handle` answers to `request`, or the Failure that its exception is.

    Raises WireError.
    """
    try:
        return await handle(request)
    except ServiceError as error:
        return error.to_failure()
    except WireError:
        raise  # the peer's own fault, for which it may have to go
    except Exception as error:
        log.exception("%s failed", request.NAME)
        return ServiceError(
            failures.INTERNAL,
            f"{type(error).__name__}: {error}",
            hint="This is a bug in Isthmus; the service's log has the details.",
        ).to_failure()
