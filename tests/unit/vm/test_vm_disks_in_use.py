from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vm.disks_in_use import claim, refuse_if_in_use, release
from vm.errors import DiskInUse


def test_an_image_is_plugged_in_once_until_it_is_released(tmp_path: Path) -> None:
    image = tmp_path / "d.qcow2"
    refuse_if_in_use("resize", image)
    claim("attach", image)
    try:
        with pytest.raises(DiskInUse) as caught:
            claim("attach", image)
        assert caught.value.operation == "attach"
        with pytest.raises(DiskInUse):
            refuse_if_in_use("resize", tmp_path / "sub" / ".." / "d.qcow2")
    finally:
        release(image)
    release(image)
    refuse_if_in_use("resize", image)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_another_name_for_the_same_image_does_not_help(tmp_path: Path) -> None:
    image, link = tmp_path / "d.qcow2", tmp_path / "link"
    image.touch()
    link.symlink_to(image)
    claim("attach", link)
    try:
        with pytest.raises(DiskInUse):
            refuse_if_in_use("check", image)
    finally:
        release(image)
