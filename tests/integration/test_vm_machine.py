"""Machines of real QEMU that run no operating system: life, hot-plug, and every kind of end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.integration.vm_guests import HALTING, RESTARTING, finish, rom, saying, spec_for
from vm.argv import QMP_CHANNEL, SCSI_BUS, qemu_argv
from vm.channels_windows import LoopbackChannel
from vm.disk import create_disk, resize_disk
from vm.errors import DiskError, DiskInUse, LaunchFailure, MachineBusy, MachineDied, UnknownPort
from vm.exit_report import PROCESSOR_FAILURE, ShutdownRung
from vm.machine import MachineState, VirtualMachine
from vm.process import spawn
from vm.qmp import Qmp
from vm.shutdown import Deadlines
from vm.spec import BootImage, KernelOrigin, MachineSpec, MachineType

pytestmark = pytest.mark.vm

BOARDS = list(MachineType)
QUICK = Deadlines(guest_s=0.3, quit_s=0.3, terminate_s=0.3, kill_s=30)


async def wait_for_serial(spec: MachineSpec, text: str) -> None:
    """Wait until the guest has printed `text`."""
    async with asyncio.timeout(60):
        while text not in spec.serial_log.read_text(encoding="ascii"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# -- life ------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS)
def test_a_machine_starts_answers_and_ends(tmp_path: Path, board: MachineType) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path, saying("here I am") + HALTING, machine=board)
        pid_file = tmp_path / "qemu.pid"
        machine = await VirtualMachine.start(spec, pid_file=pid_file)
        assert machine.state.value == "running"
        assert pid_file.exists()
        assert await machine.qmp.query_status() == "running"
        await wait_for_serial(spec, "here I am")
        agent = machine.port("org.isthmus.agent")
        with agent:
            assert agent.gettimeout() == 0
            report = await machine.shutdown()
            assert await asyncio.get_running_loop().sock_recv(agent, 1) == b""
        assert report.requested
        assert (report.exit_code, report.rung) == (0, ShutdownRung.QUIT)
        assert machine.state is MachineState.ENDED
        assert report.serial_tail == "here I am"
        assert not pid_file.exists()
        assert not psutil.pid_exists(machine.pid)

    finish(scenario())


@pytest.mark.parametrize("board", BOARDS)
def test_nothing_listens_and_nothing_lies_about(tmp_path: Path, board: MachineType) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path, machine=board)
        async with await VirtualMachine.start(spec) as machine:
            sockets = psutil.Process(machine.pid).net_connections("all")
            assert [s for s in sockets if s.status == psutil.CONN_LISTEN or s.laddr] == []
            assert {path.name for path in tmp_path.iterdir()} == {"guest.rom", "guest.log"}
            assert spec.serial_log.stat().st_mode & 0o077 == 0

    finish(scenario())


def test_a_port_is_handed_out_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with await VirtualMachine.start(await spec_for(tmp_path)) as machine:
            machine.port("org.isthmus.agent").close()
            for name in ("org.isthmus.agent", "other"):
                with pytest.raises(UnknownPort) as caught:
                    machine.port(name)
                assert caught.value.known == ("org.isthmus.agent", "org.isthmus.drive")

    finish(scenario())


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path, saying("first") + HALTING)
        async with await VirtualMachine.start(spec):
            await wait_for_serial(spec, "first")
        (tmp_path / "guest.rom").write_bytes(rom(HALTING))
        async with await VirtualMachine.start(spec):
            assert spec.serial_log.read_bytes() == b""
            assert (tmp_path / "guest.log.1").read_bytes() == b"first"

    finish(scenario())


def test_the_channel_for_windows_serves_qemu_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path)
        channels = {name: LoopbackChannel() for name in (QMP_CHANNEL, *spec.ports)}
        argv = qemu_argv(spec, {name: channel.backend for name, channel in channels.items()})
        child = await spawn(argv)
        try:
            sockets = await asyncio.gather(
                *(channel.connected(child.pid, 60) for channel in channels.values())
            )
            qmp = await Qmp.connect(sockets[0])
            assert await qmp.query_status() == "running"
            assert [
                s
                for s in psutil.Process(child.pid).net_connections("inet")
                if s.status == psutil.CONN_LISTEN
            ] == []
            await qmp.quit()
            assert await child.wait() == 0
            await qmp.close()
            for sock in sockets[1:]:
                assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""
                sock.close()
        finally:
            await child.kill_and_reap()

    finish(scenario())


# -- failing to start ------------------------------------------------------------------------


def launch_failure(spec: MachineSpec, deadline_s: float = 60) -> LaunchFailure:
    async def scenario() -> LaunchFailure:
        with pytest.raises(LaunchFailure) as caught:
            await VirtualMachine.start(spec, deadline_s=deadline_s)
        return caught.value

    return finish(scenario())


def test_a_bad_argument_is_reported_in_qemus_words(tmp_path: Path) -> None:
    spec = replace(asyncio.run(spec_for(tmp_path)), cpu_model="no-such-processor")
    failure = launch_failure(spec)
    assert "no-such-processor" in failure.stderr
    assert failure.exit_code == 1
    assert failure.argv[0] == str(spec.qemu.system)
    assert "no-such-processor" in failure.argv


def test_a_missing_image_is_reported_with_a_hint(tmp_path: Path) -> None:
    boot = BootImage(tmp_path / "none", None, tmp_path / "none", "0", KernelOrigin.TUNED)
    failure = launch_failure(replace(asyncio.run(spec_for(tmp_path)), boot=boot))
    assert str(tmp_path / "none") in failure.stderr
    assert failure.hint


def test_a_missing_program_or_directory_is_a_launch_failure_too(tmp_path: Path) -> None:
    spec = asyncio.run(spec_for(tmp_path))
    qemu = replace(spec.qemu, system=tmp_path / "none")
    assert "none" in launch_failure(replace(spec, qemu=qemu)).stderr
    failure = launch_failure(replace(spec, serial_log=tmp_path / "no" / "serial.log"))
    assert "serial.log" in failure.stderr


def test_a_program_that_says_nothing_is_ended_at_the_deadline(tmp_path: Path) -> None:
    silent = tmp_path / "qemu"
    silent.write_text("#!/bin/sh\nexec sleep 600\n", encoding="ascii")
    silent.chmod(0o755)
    spec = asyncio.run(spec_for(tmp_path))
    failure = launch_failure(replace(spec, qemu=replace(spec.qemu, system=silent)), deadline_s=0.3)
    assert failure.exit_code is None
    assert "did not answer" in failure.message


def test_a_cancelled_start_leaves_no_qemu(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path)
        before = len(psutil.Process().children())
        task = asyncio.create_task(VirtualMachine.start(spec, pid_file=tmp_path / "pid"))
        while len(psutil.Process().children()) == before:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (tmp_path / "pid").exists()

    finish(scenario())


# -- dying -----------------------------------------------------------------------------------


def test_everybody_who_waits_is_told_why_it_died(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path, saying("last words") + HALTING)
        machine = await VirtualMachine.start(spec, pid_file=tmp_path / "pid")
        await wait_for_serial(spec, "last words")
        agent = machine.port("org.isthmus.agent")
        waiting = [asyncio.create_task(machine.wait()) for _ in range(2)]
        # A stopped process answers nobody, so this command is under way when it dies.
        os.kill(machine.pid, signal.SIGSTOP)
        command = asyncio.create_task(machine.qmp.execute("query-block", deadline_s=60))
        reading = asyncio.create_task(asyncio.get_running_loop().sock_recv(agent, 1))
        await asyncio.sleep(0)
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(MachineDied) as caught:
            await command
        report = caught.value.report
        assert [await each for each in waiting] == [report, report]
        assert await reading == b""
        agent.close()
        assert (report.signal, report.requested, report.rung) == (9, False, None)
        assert "last words" in caught.value.message
        assert machine.state is MachineState.ENDED
        assert not (tmp_path / "pid").exists()
        with pytest.raises(MachineDied):
            await machine.qmp.query_status()
        with pytest.raises(MachineDied):
            await machine.attach_disk(tmp_path / "d", "d")
        assert await machine.shutdown() == report

    finish(scenario())


@pytest.mark.parametrize("board", BOARDS)
def test_a_guest_that_restarts_ends_the_machine(tmp_path: Path, board: MachineType) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path, saying("bye") + RESTARTING, machine=board)
        # It may be over before QEMU's first answer has been read, and that is a way to end too.
        try:
            machine = await VirtualMachine.start(spec)
        except LaunchFailure as failure:
            assert failure.exit_code == 0
            return
        report = await machine.wait()
        assert report.exit_code == 0
        assert report.reason in {"guest-reset", None}
        assert "bye" in report.summary

    finish(scenario())


def test_a_machine_whose_processors_stop_by_themselves_is_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))
        # What QEMU does of its own when an accelerator fails; Qmp.stop would be one of ours.
        await machine.qmp.execute("stop")
        report = await machine.wait()
        assert report.reason == PROCESSOR_FAILURE
        assert not report.requested

    finish(scenario())


def test_a_pause_that_was_asked_for_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with await VirtualMachine.start(await spec_for(tmp_path)) as machine:
            await machine.qmp.stop()
            assert await machine.qmp.query_status() == "paused"
            await machine.qmp.cont()
            assert await machine.qmp.query_status() == "running"
            assert machine.state is MachineState.RUNNING

    finish(scenario())


# -- shutting down ---------------------------------------------------------------------------


def test_a_guest_that_obeys_needs_no_other_rung(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))

        async def ask() -> None:
            await machine.qmp.execute("system_reset")  # what the guest's restart amounts to

        report = await machine.shutdown(ask)
        assert report.rung is ShutdownRung.GUEST
        assert report.requested
        assert report.exit_code == 0

    finish(scenario())


def test_a_guest_that_ignores_us_is_quit(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))

        async def ask() -> None:
            """It hears, and does nothing."""

        deadlines = replace(QUICK, quit_s=60)
        report = await machine.shutdown(ask, deadlines=deadlines)
        assert (report.rung, report.reason) == (ShutdownRung.QUIT, "host-qmp-quit")

    finish(scenario())


def test_without_a_monitor_qemu_is_asked_by_signal(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))
        await machine.qmp.close()
        report = await machine.shutdown(deadlines=replace(QUICK, terminate_s=60))
        assert report.rung is ShutdownRung.TERMINATE
        assert report.exit_code == 0  # QEMU ends in order on SIGTERM

    finish(scenario())


def test_a_stuck_qemu_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))
        os.kill(machine.pid, signal.SIGSTOP)
        report = await machine.shutdown(deadlines=QUICK)
        assert (report.rung, report.signal) == (ShutdownRung.KILL, 9)

    finish(scenario())


def test_all_who_shut_down_get_the_same_end_and_nobody_can_call_it_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))
        first, second = (asyncio.create_task(machine.shutdown()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        report = await second
        assert await machine.shutdown() == report == await machine.wait()
        with pytest.raises(MachineDied):
            await machine.detach_disk("x")

    finish(scenario())


def test_no_disk_is_plugged_in_while_it_goes_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = await VirtualMachine.start(await spec_for(tmp_path))
        os.kill(machine.pid, signal.SIGSTOP)
        ending = asyncio.create_task(machine.shutdown(deadlines=QUICK))
        await asyncio.sleep(0)
        with pytest.raises(MachineBusy, match="being shut down"):
            await machine.attach_disk(tmp_path / "d", "d")
        await ending

    finish(scenario())


# -- disks -----------------------------------------------------------------------------------


def block_nodes(answer: object) -> set[str]:
    assert isinstance(answer, list)
    return {str(node["node-name"]) for node in answer if isinstance(node, Mapping)}


@pytest.mark.parametrize("board", BOARDS)
def test_disks_come_and_go(tmp_path: Path, board: MachineType) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path, machine=board)
        for name in ("a", "b"):
            await create_disk(spec.qemu, tmp_path / f"{name}.qcow2", 1 << 30)
        async with await VirtualMachine.start(spec) as machine:
            a = await machine.attach_disk(tmp_path / "a.qcow2", "serial-a")
            b = await machine.attach_disk(tmp_path / "b.qcow2", "serial-b")
            assert machine.disks == (a, b)
            assert a.lun != b.lun
            nodes = block_nodes(await machine.qmp.execute("query-named-block-nodes"))
            assert {a.node_name, b.node_name} <= nodes
            with pytest.raises(ValueError, match="serial-a"):
                await machine.attach_disk(tmp_path / "b.qcow2", "serial-a")
            with pytest.raises(DiskInUse):  # the machine holds the image's lock
                await resize_disk(spec.qemu, tmp_path / "a.qcow2", 2 << 30)
            await machine.detach_disk("serial-a")
            assert [disk.serial for disk in machine.disks] == ["serial-b"]
            await resize_disk(spec.qemu, tmp_path / "a.qcow2", 2 << 30)
            again = await machine.attach_disk(tmp_path / "a.qcow2", "serial-a")
            assert again.lun == a.lun
            with pytest.raises(KeyError):
                await machine.detach_disk("never there")
        await resize_disk(spec.qemu, tmp_path / "b.qcow2", 2 << 30)

    finish(scenario())


def test_a_caller_who_gives_up_leaves_no_half_plugged_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path)
        disk = tmp_path / "d.qcow2"
        await create_disk(spec.qemu, disk, 1 << 30)
        async with await VirtualMachine.start(spec) as machine:
            before = block_nodes(await machine.qmp.execute("query-named-block-nodes"))
            for steps in range(6):  # cancelled at different places
                attaching = asyncio.create_task(machine.attach_disk(disk, "d"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                attaching.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await attaching
                assert machine.disks == ()
            assert block_nodes(await machine.qmp.execute("query-named-block-nodes")) == before
            await machine.attach_disk(disk, "d")
            detaching = asyncio.create_task(machine.detach_disk("d"))
            await asyncio.sleep(0)
            detaching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await detaching
            await machine.attach_disk(disk, "other")  # waits for the removal to be complete
            assert [each.serial for each in machine.disks] == ["other"]

    finish(scenario())


def test_a_disk_of_unknown_fate_is_not_plugged_in_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path)
        for name in ("a", "b"):
            await create_disk(spec.qemu, tmp_path / f"{name}.qcow2", 1 << 30)
        async with await VirtualMachine.start(spec) as machine:
            os.kill(machine.pid, signal.SIGSTOP)
            try:
                with pytest.raises(DiskError, match="no answer"):
                    await machine.attach_disk(tmp_path / "a.qcow2", "a", deadline_s=0.2)
            finally:
                os.kill(machine.pid, signal.SIGCONT)
            with pytest.raises(DiskInUse):
                await machine.attach_disk(tmp_path / "a.qcow2", "a")
            assert (await machine.attach_disk(tmp_path / "b.qcow2", "b")).lun == 1

    finish(scenario())


def test_two_machines_never_share_a_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = await spec_for(tmp_path, name="first")
        second = await spec_for(tmp_path, name="second")
        disk = tmp_path / "d.qcow2"
        await create_disk(first.qemu, disk, 1 << 30)
        async with (
            await VirtualMachine.start(first) as holder,
            await VirtualMachine.start(second) as other,
        ):
            await holder.attach_disk(disk, "d")
            with pytest.raises(DiskInUse) as caught:
                await other.attach_disk(disk, "d")
            assert caught.value.path == disk
            assert other.disks == ()
            await holder.detach_disk("d")
            await other.attach_disk(disk, "d")

    finish(scenario())


def test_what_is_no_disk_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = await spec_for(tmp_path)
        (tmp_path / "text").write_bytes(b"not a disk" * 1000)
        await create_disk(spec.qemu, tmp_path / "d.qcow2", 1 << 30)
        async with await VirtualMachine.start(spec) as machine:
            before = block_nodes(await machine.qmp.execute("query-named-block-nodes"))
            for wrong in ("text", "missing"):
                with pytest.raises(DiskError):
                    await machine.attach_disk(tmp_path / wrong, "s")
            # A device at the place of the next disk: refused after its image has been opened.
            await machine.qmp.device_add(
                {"driver": "scsi-cd", "id": "cd", "bus": SCSI_BUS, "scsi-id": 0, "lun": 0}
            )
            with pytest.raises(DiskError):
                await machine.attach_disk(tmp_path / "d.qcow2", "d")
            await machine.qmp.device_del("cd")
            await resize_disk(spec.qemu, tmp_path / "d.qcow2", 2 << 30)  # it is closed again
            assert block_nodes(await machine.qmp.execute("query-named-block-nodes")) == before

    finish(scenario())
