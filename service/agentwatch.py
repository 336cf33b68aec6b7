"""Who speaks to the agent first: at boot, when it has restarted, when the host's clock was set."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable

from service.errors import LinkLost, ServiceError
from service.link import AgentLink
from vm.argv import port_chardev
from vm.errors import VmError
from vm.machine import VirtualMachine
from vm.qmp import event_data
from wire import failures
from wire.agent import Hello, Reseed, Welcome
from wire.common import PROTOCOL_VERSION, Done
from wire.version import VERSION

log = logging.getLogger(__name__)

_ENTROPY_BYTES = 64
_CLOCK_TOLERANCE_NS = 500_000_000
"""Slower than this the host's clock is slewed (adjtime(3)), which is no jump."""


_LOOK_S = 0.5
"""How often the host's clock is looked at."""
_DRIFT_S = 60.0
"""How often the guest's is set anyway: the host's is corrected all the time, little by little."""
_REST_TIMEOUT_S = 20.0
"""For an agent that runs already to open its port again, or to answer."""


class BootFailure(ServiceError):
    """QEMU ran, but the guest's agent never answered.

    `is_images_fault`: it may be the kernel's or the system image's fault.
    """

    def __init__(self, what: str, hint: str, *, is_images_fault: bool) -> None:
        super().__init__(failures.VM_FAILED, f"the virtual machine {what}", hint=hint)
        self.is_images_fault = is_images_fault


class HostClock:
    """Notices that the host's clock was set, or stood still while the host slept.

    `wall_ns` is the clock that may jump, `steady_ns` one that never does; in nanoseconds.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = lambda: time.time_ns(),
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._distance_ns = wall_ns() - steady_ns()

    def tell(self) -> int:
        """The time, in nanoseconds since the epoch; jumps are counted from here."""
        now_ns = self._wall_ns()
        self._distance_ns = now_ns - self._steady_ns()
        return now_ns

    def has_jumped(self) -> bool:
        """Whether it has, forwards or backwards, since it was last told."""
        distance_ns = self._wall_ns() - self._steady_ns()
        return abs(distance_ns - self._distance_ns) > _CLOCK_TOLERANCE_NS


class AgentWatch:
    """Greets the agent of one machine, again and again as needed.

    port: the agent's. device_timeout_ms: how long it waits for a disk to appear. `on_back` is
    told when one that had to restart has been greeted.
    """

    def __init__(
        self,
        vm: VirtualMachine,
        link: AgentLink,
        port: str,
        device_timeout_ms: int,
        on_back: Callable[[], None],
    ) -> None:
        self._vm = vm
        self._link = link
        self._port = port
        self._on_back = on_back
        self._device_timeout_ms = device_timeout_ms
        self._clock = HostClock()
        self._is_known = False
        self._rested: asyncio.Event | None = None
        self.running: tuple[str, ...] = ()
        """Identities of the distributions that ran when an agent was greeted last."""

    async def follow_port(self, *, is_booting: bool = False) -> None:
        """Synchronise the link whenever an agent opens its port (QMP event VSERPORT_CHANGE).

        `is_booting`: also if it has done so already. QEMU tells nobody what happens before its
        monitor is greeted, and on a busy host the guest may be there first.
        """
        greeting: asyncio.Task[None] | None = None
        try:
            with self._vm.qmp.events("VSERPORT_CHANGE") as events:
                if is_booting and await self._is_open():
                    events.discard()
                    self._link.port_opened()
                async for event in events:
                    data = event_data(event)
                    if not data.get("open") or data.get("id") != self._port:
                        continue
                    if self._rested is not None:
                        self._rested.set()
                        continue
                    self._link.port_opened()
                    if self._is_known and (greeting is None or greeting.done()):
                        greeting = asyncio.create_task(self._greet_again())
        finally:
            if greeting is not None:
                greeting.cancel()

    async def _is_open(self) -> bool:
        with contextlib.suppress(VmError):  # the machine has ended: whoever greets it says so
            return await self._vm.qmp.is_frontend_open(port_chardev(self._vm.spec, self._port))
        return False

    async def greet(
        self,
        timeout_s: float,
        *,
        is_awakened: bool = False,
        on_seeded: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for the agent of a machine that boots, and introduce ourselves.

        `is_awakened`: it goes on from a snapshot, and must not repeat its random numbers;
        `on_seeded` is called, perhaps more than once, when what it is told next comes after that.
        Raises BootFailure, also if QEMU ends meanwhile, and ServiceError.
        """
        ended = asyncio.create_task(self._vm.wait())
        greeted = asyncio.create_task(self._say_hello(is_awakened, on_seeded))
        try:
            await asyncio.wait(
                {ended, greeted}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if greeted.done():
                greeted.result()
                self._is_known = True
                return
            if ended.done():
                report = ended.result()
                raise BootFailure(
                    f"ended while it was booting: {report.summary}",
                    report.hint,
                    is_images_fault=not report.was_killed,
                )
            raise BootFailure(
                f"did not answer within {timeout_s:.0f} s",
                f"Its console is in {self._vm.spec.serial_log}.",
                is_images_fault=True,
            )
        finally:
            for task in (ended, greeted):
                task.cancel()

    async def rest(self) -> None:
        """Have the agent wait for whoever greets it next, in a machine that is to be saved.

        Raises ServiceError if it does not do so.
        """
        self._rested = asyncio.Event()
        self._link.reset("the virtual machine is being suspended")
        try:
            async with asyncio.timeout(_REST_TIMEOUT_S):
                await self._rested.wait()
        except TimeoutError:
            raise LinkLost("the agent did not open its port again") from None

    async def go_on(self) -> None:
        """Greet the agent of a machine that was not saved after `rest`. Raises ServiceError."""
        self._rested = None
        self._link.port_opened()
        await self.greet(_REST_TIMEOUT_S, is_awakened=True)

    async def keep_time(self) -> None:
        """Set the guest's clock if the host's has jumped. Raises ServiceError."""
        if self._clock.has_jumped():
            log.warning("the host's clock has jumped: setting the virtual machine's")
            await self._say_hello()

    async def follow_time(self) -> None:
        """Keep the guest's clock right while the machine runs, whether or not anybody uses it.

        It goes wrong when the host's jumps or the host sleeps, when the machine was paused, and
        little by little.
        """
        looking = asyncio.create_task(self._look_at_clock())
        try:
            with self._vm.qmp.events("RESUME") as events:
                async for _ in events:
                    log.info("the virtual machine goes on: setting its clock")
                    await self._set_clock()
        finally:
            looking.cancel()

    async def _look_at_clock(self) -> None:
        set_at = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._clock.has_jumped() or time.monotonic() - set_at > _DRIFT_S:
                await self._set_clock()
                set_at = time.monotonic()

    async def _set_clock(self) -> None:
        with contextlib.suppress(ServiceError):  # an agent that is not there is greeted anyway
            await self._say_hello()

    async def _greet_again(self) -> None:
        with contextlib.suppress(ServiceError):
            welcome = await self._say_hello()
            log.warning("the agent has restarted; running: %s", welcome.running)
            self._on_back()

    async def _say_hello(
        self, is_awakened: bool = False, on_seeded: Callable[[], None] = lambda: None
    ) -> Welcome:
        while True:
            await self._link.wait_synchronised()
            try:
                if is_awakened:
                    reseed = Reseed(entropy=os.urandom(_ENTROPY_BYTES).hex())
                    seeding = asyncio.create_task(self._link.request(reseed, Done))
                    await asyncio.sleep(0)  # it is on its way, and the agent keeps to the order
                    on_seeded()
                    await seeding
                hello = Hello(
                    protocol=PROTOCOL_VERSION,
                    version=VERSION,
                    time_ns=self._clock.tell(),
                    device_timeout_ms=self._device_timeout_ms,
                )
                welcome = await self._link.request(hello, Welcome)
            except LinkLost:
                continue  # the port was opened once more, by an agent that had to restart
            if welcome.protocol != PROTOCOL_VERSION:
                raise ServiceError(
                    failures.VERSION_MISMATCH,
                    f"the system image speaks protocol {welcome.protocol}, not {PROTOCOL_VERSION}",
                    hint="`isthmus --update` prepares a matching one.",
                )
            self.running = welcome.running
            return welcome
