"""The answer to `isthmus --status`. Pure but for what it is given."""

from __future__ import annotations

import os

from service.drives import Drives
from service.machine import Machine
from service.network import Network
from service.registry import Registry
from vm.probe_result import ProbeReport
from wire.client import StatusReport
from wire.places import Places
from wire.version import VERSION


def status_report(
    machine: Machine, registry: Registry, places: Places, network: Network, drives: Drives
) -> StatusReport:
    """What runs, on what, and how."""
    spec = machine.spec
    default = registry.default
    probe = machine.probe
    network_warnings = [f"network: {network.problem}"] if network.problem else []
    return StatusReport(
        version=VERSION,
        default_distribution="" if default is None else default.name,
        machine_state="suspended" if machine.is_suspended else machine.state.value,
        qemu="" if spec is None else f"{spec.qemu.version} ({spec.qemu.system})",
        accelerator="" if spec is None else spec.accelerator.value,
        accelerator_note="" if probe is None else probe_note(probe),
        machine="" if spec is None else spec.machine.value,
        kernel="" if machine.image is None else f"{machine.image.release} ({machine.image.origin})",
        memory_mib=0 if spec is None else spec.memory_mib,
        processors=0 if spec is None else spec.processors,
        service_pid=os.getpid(),
        qemu_pid=0 if spec is None else machine.vm.pid,
        directory=places.home,
        warnings=(*machine.settings.current().warnings, *network_warnings),
        networking_mode=network.mode,
        addresses=network.addresses,
        forwards=network.ports.status(),
        drives=drives.status({record.identity: record.name for record in registry.all()}),
    )


def probe_note(probe: ProbeReport) -> str:
    """Why no better accelerator is used; "" where there was nothing better to try."""
    failed = [f"{result.accelerator}: {result.detail}" for result in probe.results[:-1]]
    return "; ".join(failed)
