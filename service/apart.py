"""Heavy work in a process of its own, which gives its memory back when it is done.

Resolving packages takes 150 MB for some seconds; the service, which stays for days, would keep
most of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from service.errors import LinkLost, ServiceError
from vm.errors import VmError
from vm.image.errors import ImageError
from wire import failures

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")

Tell = Callable[[str, int, int], None]
"""Progress: label, done, total."""

_END_S = 5.0


async def run_apart(work: Callable[[Tell], T], tell: Tell) -> T:
    """Run `work(progress)` in a child process; `tell` is called on the event loop.

    `work` is a function at the top of its module, and its result can be pickled. Raises
    ServiceError for what the child raised, or if it dies. A caller who is cancelled ends it.
    """
    import multiprocessing  # few commands need it

    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, work), daemon=True)
    await asyncio.to_thread(child.start)
    theirs.close()

    def follow() -> tuple[str, Any]:
        while True:
            try:
                kind, value = ours.recv()
            except EOFError:
                return "died", None
            if kind != "progress":
                return kind, value
            loop.call_soon_threadsafe(tell, *value)

    try:
        kind, value = await asyncio.to_thread(follow)
    except asyncio.CancelledError:
        child.terminate()  # which ends `follow` as well
        raise
    finally:
        await asyncio.to_thread(child.join, _END_S)
    if kind == "failure":
        code, message, hint = value
        raise ServiceError(code, message, hint=hint)
    if kind == "died":
        raise LinkLost(f"the process that prepares the image ended with {child.exitcode}")
    return cast(T, value)


def _child(pipe: Connection, work: Callable[[Tell], object]) -> None:
    """What the child process does. When the service is gone, its next word fails, and it ends."""

    def tell(label: str, done: int, total: int) -> None:
        pipe.send(("progress", (label, done, total)))

    try:
        pipe.send(("result", work(tell)))
    except VmError as error:
        # As fields: exceptions with arguments of their own do not survive pickling.
        code = failures.IMAGE_FAILED if isinstance(error, ImageError) else failures.VM_FAILED
        pipe.send(("failure", (code, error.message, error.hint)))
    except BrokenPipeError:
        return
    except Exception as error:
        pipe.send(("failure", (failures.INTERNAL, f"{type(error).__name__}: {error}", "")))
