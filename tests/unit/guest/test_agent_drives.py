"""Mount options and fstab(5), as the agent reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.agent.driveoptions import automount_options, split_options
from guest.agent.fstab import has_entries

NOSUID, NODEV, NOEXEC, NOATIME = 0x2, 0x4, 0x8, 0x10
"""linux/mount.h"""


@pytest.mark.parametrize(
    ("text", "drive", "attributes"),
    [
        ("", (), 0),
        ("defaults,metadata", ("metadata",), 0),
        ("noatime,uid=1000,gid=1000", ("uid=1000", "gid=1000"), NOATIME),
        ("nosuid,nodev,noexec", (), NOSUID | NODEV | NOEXEC),
        ("noexec,exec,noatime,relatime", (), 0),
        ("ro,nofail,x-systemd.automount,_netdev,comment=x", ("ro",), 0),
        ("fallback=1,case=dir", ("case=dir",), 0),
        ("nonsense", ("nonsense",), 0),
    ],
)
def test_options(text: str, drive: tuple[str, ...], attributes: int) -> None:
    parsed = split_options(text)
    assert (parsed.drive, parsed.attributes) == (drive, attributes)


@given(st.text())
def test_every_option_is_the_drives_the_kernels_or_nobodys(text: str) -> None:
    parsed = split_options(text)
    assert set(parsed.drive) <= set(text.split(","))
    assert 0 <= parsed.attributes < 1 << 22


def test_the_users_options_win() -> None:
    assert automount_options(1000, 100, "uid=5,metadata") == (
        "noatime,uid=1000,gid=100,uid=5,metadata"
    )
    assert automount_options(0, 0, "") == "noatime,uid=0,gid=0"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", False),
        ("# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", False),
        ("\n  \n\t# C: /mnt/c drvfs\n", False),
        ("C: /mnt/c drvfs metadata 0 0", True),
        ("# first\ntmpfs /t tmpfs defaults 0 0\n", True),
    ],
)
def test_fstab(text: str, wanted: bool) -> None:
    assert has_entries(text) is wanted
