"""POSIX's side of `vm.probe`: what can be ruled out without a run, and which boot this is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vm.spec import Accelerator

assert sys.platform != "win32"

_KVM_DEVICE = "/dev/kvm"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def why_unavailable(accelerator: Accelerator) -> str | None:
    """Why this host cannot offer `accelerator` to this user; None if a run has to tell."""
    if accelerator is Accelerator.TCG:
        return None
    if accelerator is Accelerator.KVM and sys.platform == "linux":
        try:
            os.close(os.open(_KVM_DEVICE, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return f"{_KVM_DEVICE}: {error.strerror}"
        return None
    if accelerator is Accelerator.HVF and sys.platform == "darwin":
        return None
    return "not on this operating system"


def boot_identity() -> str:
    """Changes when the host is started again: firmware settings may have changed with it."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
