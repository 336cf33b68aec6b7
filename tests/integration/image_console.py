"""A machine whose serial console a test reads and types on: no agent, no service, no vm package.

So that the image is tested by itself, and a failure here is the image's own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vm.spec import Accelerator, BootImage, MachineType, choose_processors

AGENT_PORT = "org.isthmus.agent"
SHELL = ("init=/bin/sh", "start=/bin/sh")
"""Kernel arguments for a shell in place of init: one for the kernel, one for an initramfs."""
BOOT_DEADLINE_S = 120.0
"""Many times what a boot takes here; only a machine that hangs runs into it."""
PROCESSORS = 2
"""What a machine is given where its kernel bears it."""
KERNEL_ARGUMENTS = (
    "console=ttyS0 root=/dev/vda rootfstype=erofs ro init=/sbin/init panic=-1 reboot=t "
    "mitigations=off quiet"
)


def processors(image: BootImage) -> int:
    """How many processors `booted` gives a machine with this image."""
    return choose_processors(Accelerator.TCG, image.origin, PROCESSORS)


@dataclass
class Console:
    """What a machine has printed, and a way to answer."""

    process: subprocess.Popen[bytes]
    output: bytearray = field(default_factory=bytearray)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False
    _seen: int = 0

    def read_on(self) -> None:
        """Collect output until the machine is gone; runs in a thread of its own."""
        assert self.process.stdout is not None
        while chunk := self.process.stdout.read1(65536):  # type: ignore[attr-defined]
            with self._changed:
                self.output += chunk
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str, deadline_s: float = BOOT_DEADLINE_S) -> re.Match[str]:
        """Wait for `pattern` in what has not been waited for yet. Fails with the last output."""
        compiled = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + deadline_s
        with self._changed:
            while True:
                text = self.output[self._seen :].decode(errors="replace").replace("\r", "")
                match = compiled.search(text)
                if match:
                    self._seen = len(self.output) - len(text[match.end() :].encode())
                    return match
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "the machine ended" if self._ended else "no answer"
                    tail = self.output.decode(errors="replace")[-4000:]
                    raise AssertionError(f"{why} while waiting for {pattern!r}:\n{tail}")
                self._changed.wait(left)

    def type(self, text: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def run(self, command: str) -> str:
        """Run a shell command on the console; fails unless its status is 0."""
        # The token is put together by the shell, so that its echo does not look like an answer.
        self.type(f"{{ {command}\n}} 2>&1; echo status''-$?-")
        match = self.wait_for(r"status-(\d+)-")
        before = match.string[: match.start()]
        assert match[1] == "0", f"{command!r} gave {match[1]}:\n{before[-2000:]}"
        return before

    def wait_for_end(self) -> int:
        """The exit status of QEMU, once the machine has turned itself off."""
        return self.process.wait(BOOT_DEADLINE_S)


@contextmanager
def booted(image: BootImage, machine: MachineType, *arguments: str) -> Iterator[Console]:
    """Start a machine with `image` and further kernel arguments; it is gone afterwards."""
    program = shutil.which("qemu-system-x86_64")
    assert program is not None, "qemu-system-x86_64 is not installed"
    argv = [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-m", "768M"]
    argv += ["-smp", str(processors(image))]
    microvm = machine is MachineType.MICROVM
    if microvm:
        argv += ["-machine", "microvm,acpi=off,rtc=on,auto-kernel-cmdline=on"]
        argv += ["-global", "virtio-mmio.force-legacy=off"]
    else:
        argv += ["-machine", "q35,vmport=off,smbus=off,sata=off,usb=off,graphics=off,hpet=off"]
    argv += ["-kernel", str(image.kernel), "-append", " ".join((KERNEL_ARGUMENTS, *arguments))]
    if image.initrd is not None:
        argv += ["-initrd", str(image.initrd)]
    system = {"driver": "file", "filename": str(image.system)}
    node = {"node-name": "system", "driver": "raw", "read-only": True, "file": system}
    argv += ["-blockdev", json.dumps(node), "-netdev", "user,id=net0"]
    kinds = ["blk,drive=system", "serial,max_ports=2", "scsi", "net,netdev=net0", "rng", "balloon"]
    # microvm: transport 3 would get the clock's interrupt.
    for kind, bus in zip(kinds, (0, 1, 2, 4, 5, 6), strict=True):
        name, comma, options = kind.partition(",")
        device = (
            f"virtio-{name}-device,bus=virtio-mmio-bus.{bus}" if microvm else f"virtio-{name}-pci"
        )
        if name == "net" and not microvm:
            options += ",romfile="
        argv += ["-device", f"{device}{comma}{options}"]
        if name == "serial":
            argv += [
                "-chardev",
                "null,id=p1",
                "-device",
                f"virtserialport,chardev=p1,name={AGENT_PORT}",
            ]
    argv += ["-serial", "stdio", "-monitor", "none"]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with process:
        console = Console(process)
        reader = threading.Thread(target=console.read_on)
        reader.start()
        try:
            yield console
        finally:
            process.kill()
            reader.join()
