"""A service that is killed leaves no QEMU; and if one is left, the next start ends it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.vm_guests import finish, spec_for
from vm.machine import VirtualMachine
from vm.pidfile import end_orphan, identify, read_pid_file, write_pid_file

pytestmark = pytest.mark.vm

ROOT = Path(__file__).resolve().parents[2]

# A service in miniature: it starts a machine, says so, and waits to be killed.
SERVICE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.integration.vm_guests import spec_for
from vm.machine import VirtualMachine

async def main():
    directory = Path(sys.argv[2])
    machine = await VirtualMachine.start(await spec_for(directory), pid_file=directory / "pid")
    print(machine.pid, flush=True)
    await machine.wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's PR_SET_PDEATHSIG")
def test_qemu_dies_with_a_service_that_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SERVICE, str(ROOT), str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        qemu = psutil.Process(int(service.stdout.readline()))
        assert qemu.is_running()
        service.kill()
        service.wait(60)
        qemu.wait(60)
    # The killed service could not remove its note; it names nobody now.
    assert (tmp_path / "pid").exists()
    assert asyncio.run(end_orphan(tmp_path / "pid")) is False
    assert not (tmp_path / "pid").exists()


def test_the_next_start_ends_an_orphan(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path), pid_file=tmp_path / "pid")
        identity = read_pid_file(tmp_path / "pid")
        assert identity is not None
        assert identity == identify(machine.pid)
        # As if another service had left it behind: the note is read by one that knows nothing.
        note = tmp_path / "found"
        write_pid_file(note, identity)
        assert await end_orphan(note) is True
        report = await machine.wait()
        assert not psutil.pid_exists(machine.pid)
        assert report.reason == "host-signal"  # asked, so that QEMU could close its disks
        assert not note.exists()

    finish(scenario())
