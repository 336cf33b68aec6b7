"""mount(2) without a program: what goes wrong is an OSError. What works is seen in the guest."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from guest.agent.mounting import mount


def test_a_failure_has_its_number_and_its_source(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        mount("nothing", str(tmp_path / "absent"), "tmpfs", "mode=755")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM), "EPERM: we are not root"
    assert caught.value.filename == "nothing"
