"""The agent says who it is, and does what the greeting asks for."""

from __future__ import annotations

import time

import pytest

from service.errors import ServiceError
from tests.contract.sessions import Place
from wire.agent import Hello, Reseed, Welcome
from wire.common import PROTOCOL_VERSION, Done
from wire.version import VERSION


async def hello(place: Place, **fields: object) -> Welcome:
    values: dict[str, object] = {
        "protocol": PROTOCOL_VERSION,
        "version": VERSION,
        "time_ns": time.time_ns(),
        **fields,
    }
    return await place.guest.link.request(Hello(**values), Welcome)  # type: ignore[arg-type]


async def test_the_agent_says_which_kernel_it_runs_on(place: Place) -> None:
    welcome = await hello(place)
    assert (welcome.protocol, welcome.version) == (PROTOCOL_VERSION, VERSION)
    assert welcome.boot_id == (await place.text("cat /proc/sys/kernel/random/boot_id")).strip()
    assert welcome.kernel == (await place.text("uname -r")).strip()


async def test_a_host_of_another_version_is_told_so(place: Place) -> None:
    """The agent answers all the same: it is the host that says what does not fit."""
    welcome = await hello(place, protocol=PROTOCOL_VERSION + 7, version="99.0")
    assert (welcome.protocol, welcome.version) == (PROTOCOL_VERSION, VERSION)


async def test_what_runs_is_named(distribution: Place) -> None:
    assert (await hello(distribution)).running == (distribution.distribution,)


@pytest.mark.parametrize("offset_s", [-86_400, 86_400])
async def test_the_clock_is_the_hosts(distribution: Place, offset_s: int) -> None:
    """A machine that was suspended wakes up in the past; one never knows about the future."""
    wanted = time.time() + offset_s
    await hello(distribution, time_ns=int(wanted * 1e9))
    assert abs(int(await distribution.text("date +%s")) - wanted) < 60
    await hello(distribution)
    assert abs(int(await distribution.text("date +%s")) - time.time()) < 60


async def test_the_machine_has_the_name_it_is_given(distribution: Place) -> None:
    system = distribution.system()
    await hello(system, hostname="another")
    assert await system.text("hostname") == "another\n"
    assert await distribution.text("hostname") == "contract\n", "it has a name of its own"
    await hello(system)
    assert await system.text("hostname") == "isthmus\n"


async def test_entropy_is_taken(place: Place) -> None:
    await place.guest.link.request(Reseed(entropy="5a" * 64), Done)


@pytest.mark.parametrize("entropy", ["", "5a" * 31, "zz" * 32, "5a" * 32 + "5"])
async def test_what_is_no_entropy_is_refused(place: Place, entropy: str) -> None:
    """Too little of it would leave two machines alike."""
    with pytest.raises(ServiceError, match="entropy"):
        await place.guest.link.request(Reseed(entropy=entropy), Done)
