"""Values that many tests of the QEMU core need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from vm.exit_report import ExitReport, ShutdownRung
from vm.qmp import Qmp
from vm.spec import (
    Accelerator,
    BootImage,
    KernelOrigin,
    MachineSpec,
    MachineType,
    Qemu,
    QemuVersion,
)

QEMU = Qemu(
    system=Path("/opt/qemu/qemu-system-x86_64"),
    image_tool=Path("/opt/qemu/qemu-img"),
    version=QemuVersion(7, 2, 22),
    accelerators=(Accelerator.KVM, Accelerator.TCG),
    machines=frozenset(MachineType),
    sandbox=True,
)

BOOT = BootImage(
    kernel=Path("/image/vmlinux"),
    initrd=None,
    system=Path("/image/system.erofs"),
    release="6.12.0",
    origin=KernelOrigin.TUNED,
)

SPEC = MachineSpec(
    qemu=QEMU,
    machine=MachineType.MICROVM,
    accelerator=Accelerator.TCG,
    boot=BOOT,
    memory_mib=1024,
    processors=2,
    serial_log=Path("/state/serial.log"),
    ports=("org.isthmus.agent", "org.isthmus.drive.c"),
)

REPORT = ExitReport(
    exit_code=0,
    reason="guest-reset",
    requested=False,
    rung=None,
    stderr_tail="",
    serial_tail="",
)

KILLED = replace(REPORT, exit_code=-9, reason=None)
ASKED = replace(REPORT, requested=True, rung=ShutdownRung.GUEST)

Answer = Callable[[str, Mapping[str, object]], list[dict[str, object]] | None]
"""A fake QEMU's reaction to a command: the messages it sends, or None to say nothing."""


def ok(value: object = None) -> dict[str, object]:
    """The answer to a command that was carried out; the id is filled in by the fake."""
    return {"return": {} if value is None else value}


def refusal(description: str) -> dict[str, object]:
    return {"error": {"class": "GenericError", "desc": description}}


def event(name: str, **data: object) -> dict[str, object]:
    return {"event": name, "data": data, "timestamp": {"seconds": 0, "microseconds": 0}}


async def requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, object]]:
    """The JSON objects of a stream: nothing but their own end separates them."""
    buffered = ""
    while data := await reader.read(4096):
        buffered += data.decode()
        while buffered:
            try:
                request, end = json.JSONDecoder().raw_decode(buffered)
            except ValueError:
                break  # the rest of it is still to come
            yield request
            buffered = buffered[end:].lstrip()


class FakeMonitor:
    """QEMU's side of a QMP connection, over a real socket: it greets, then answers as told."""

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        self._sock = sock
        self._answer = answer
        self.commands: list[str] = []
        self._awaited: dict[str, asyncio.Event] = {}
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self) -> None:
        reader, self.writer = await asyncio.open_connection(sock=self._sock)
        try:
            version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}
            self.send({"QMP": {"version": version, "capabilities": ["oob"]}})
            async for request in requests(reader):
                command = str(request["execute"])
                self.commands.append(command)
                messages: list[dict[str, object]] | None = [ok()]
                if command != "qmp_capabilities":
                    arguments = request.get("arguments", {})
                    assert isinstance(arguments, dict)
                    messages = self._answer(command, arguments)
                identity = {"id": request["id"]} if "id" in request else {}
                for message in messages or []:
                    final = "return" in message or "error" in message
                    self.send({**message, **identity} if final else message)
                if command in self._awaited:
                    self._awaited[command].set()
        finally:
            self.writer.close()

    def send(self, message: Mapping[str, object]) -> None:
        assert self.writer is not None
        self.writer.write(json.dumps(message).encode() + b"\r\n")

    async def wait_for(self, command: str) -> None:
        """Wait until `command` has come in and been answered, or not, as told."""
        if command not in self.commands:
            await self._awaited.setdefault(command, asyncio.Event()).wait()

    def hang_up(self) -> None:
        assert self.writer is not None
        self.writer.close()


@contextlib.asynccontextmanager
async def connected(answer: Answer) -> AsyncIterator[tuple[Qmp, FakeMonitor]]:
    """A Qmp and the fake it talks to; both are gone afterwards."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    monitor = FakeMonitor(theirs, answer)
    serving = asyncio.create_task(monitor.serve())
    qmp = await Qmp.connect(ours, deadline_s=10)
    try:
        yield qmp, monitor
    finally:
        await qmp.close()
        serving.cancel()
        await asyncio.wait({serving})
