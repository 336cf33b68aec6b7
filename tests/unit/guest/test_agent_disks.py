"""When a disk that has been plugged in is there. The rest is seen in the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.agent import disks
from guest.agent.errors import AgentError


def test_a_disk_is_there_once_it_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sysfs has it a moment before: in that moment a mount would fail."""
    looks = []
    node = tmp_path / "sdb"

    def find(disk: str) -> str:
        looks.append(disk)
        if len(looks) == 1:
            return ""
        if len(looks) == 3:
            node.touch()
        return str(node)

    monkeypatch.setattr(disks, "find_device", find)
    assert disks.wait_for_device("d") == str(node)
    assert looks == ["d"] * 3


def test_one_that_never_can_is_waited_for_as_one_that_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "find_device", lambda disk: str(tmp_path / "sdb"))
    monkeypatch.setattr(disks, "_appear_timeout_s", 0.01)
    with pytest.raises(AgentError, match="disk d to appear"):
        disks.wait_for_device("d")
