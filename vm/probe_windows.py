"""Windows's side of `vm.probe`: what can be ruled out without a run, and which boot this is."""

from __future__ import annotations

import ctypes
import sys

import psutil

from vm.spec import Accelerator

assert sys.platform == "win32"

_HYPERVISOR_PRESENT = 0  # WinHvPlatformDefs.h, WHvCapabilityCodeHypervisorPresent
_TEN_MINUTES_S = 600


def why_unavailable(accelerator: Accelerator) -> str | None:
    """Why this host cannot offer `accelerator` to this user; None if a run has to tell."""
    if accelerator is Accelerator.TCG:
        return None
    if accelerator is not Accelerator.WHPX:
        return "not on this operating system"
    # WHvGetCapability may be asked by any user; the DLL comes with the optional feature.
    try:
        library = ctypes.WinDLL("WinHvPlatform.dll")
    except OSError:
        return "the Windows feature 'Windows Hypervisor Platform' is not installed"
    present, written = ctypes.c_int(0), ctypes.c_uint32(0)
    result = library.WHvGetCapability(
        _HYPERVISOR_PRESENT, ctypes.byref(present), ctypes.sizeof(present), ctypes.byref(written)
    )
    if result != 0 or not present.value:
        return "the Windows hypervisor is not running"
    return None


def boot_identity() -> str:
    """Changes when the host is started again.

    Rounded, because the start is reckoned back from the clock, and so moves with it; landing on
    the other side of a boundary only means one more probe.
    """
    return str(int(psutil.boot_time()) // _TEN_MINUTES_S)
