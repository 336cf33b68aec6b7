"""Work that must not be left half done, although whoever asked for it may go at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` as a whole: a caller who is cancelled meanwhile is so only after its end.

    What a cancelled request leaves under way in the guest would else meet the next one: a disk
    unmounted while it is being mounted, a distribution started while it ends.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody is left who would be told
        raise
