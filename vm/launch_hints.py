"""From QEMU's own words, when it fails to start, to what the user can do. Pure."""

from __future__ import annotations

# A part of QEMU's message -> the hint. The first that fits is given.
_HINTS = (
    ("Could not access KVM", "this user may not use /dev/kvm: add it to the group kvm"),
    ("cannot set up guest memory", "the host is short of memory: give the machine less"),
    ("Cannot allocate memory", "the host is short of memory: give the machine less"),
    ('Failed to get "write" lock', "another virtual machine is using this disk; end it first"),
    ("could not load kernel", "the kernel file is missing or damaged: prepare the image again"),
    ("could not load initrd", "the initrd file is missing or damaged: prepare the image again"),
    ("could not load PC BIOS", "QEMU's firmware files are missing: reinstall QEMU"),
    ("-sandbox support is not enabled", "QEMU was replaced by one without seccomp: start again"),
    ("No accelerator found", "the accelerator went away: start again to have it chosen anew"),
    ("failed to initialize", "the accelerator went away: start again to have it chosen anew"),
    ("No space left on device", "the host's disk is full"),
    ("Permission denied", "check who owns the file that QEMU names"),
    ("No such file or directory", "prepare the image again; a file has gone"),
)


def launch_hint(stderr: str) -> str:
    """The hint for what QEMU printed; "" if it is nothing known."""
    for part, hint in _HINTS:
        if part.lower() in stderr.lower():
            return hint
    return ""
