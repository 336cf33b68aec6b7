"""bsdtar command lines: a distribution's tree from and to a tar archive. Pure."""

from __future__ import annotations

from guest.agent.disks import mount_point


def unpack_argv(disk: str) -> list[str]:
    """Unpack stdin into a mounted disk, owners, modes, devices, ACLs and xattrs included.

    --chroot makes the disk the archive's whole world, whatever paths and links it holds.
    """
    options = ["-x", "-p", "-f", "-", "--numeric-owner", "--same-owner", "--acls", "--xattrs"]
    return ["bsdtar", *options, "-C", mount_point(disk), "--chroot"]


def pack_argv(disk: str) -> list[str]:
    """Write a mounted disk's tree to stdout with `./` entries, as `wsl --export` does."""
    options = ["-c", "-f", "-", "--format", "pax", "--numeric-owner", "--acls", "--xattrs"]
    options += ["--one-file-system", "--exclude", "./lost+found"]
    return ["bsdtar", *options, "-C", mount_point(disk), "."]
