"""Work that is done as a whole, whoever goes meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from service.finishing import to_the_end


def test_a_cancelled_caller_is_so_only_after_the_end() -> None:
    async def scenario() -> None:
        begun, may_end, log = asyncio.Event(), asyncio.Event(), []

        async def work() -> None:
            begun.set()
            await may_end.wait()
            log.append("done")

        async def caller() -> None:
            try:
                await to_the_end(work())
            finally:
                log.append("left")

        task = asyncio.create_task(caller())
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        assert log == []
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["done", "left"]

    asyncio.run(scenario())


def test_results_and_errors_are_its_own() -> None:
    async def give() -> int:
        return 7

    async def fail() -> None:
        raise ValueError("no")

    assert asyncio.run(to_the_end(give())) == 7
    with pytest.raises(ValueError, match="no"):
        asyncio.run(to_the_end(fail()))
