"""The first page of swap space, against mkswap's."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from guest.agent.swap import PAGE_BYTES, header

IDENTITY = uuid.UUID("c2a3f1de-0000-4000-8000-0123456789ab")


@pytest.mark.parametrize("size_bytes", [40960, 64 << 20, (1 << 30) + 512, 5 << 40])
def test_it_is_what_mkswap_makes(tmp_path: Path, size_bytes: int) -> None:
    """util-linux's mkswap; of a file that is mostly a hole."""
    path = tmp_path / "swap"
    with path.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(
        ["/sbin/mkswap", "-U", str(IDENTITY), path], check=True, capture_output=True, timeout=60
    )
    with path.open("rb") as file:
        assert file.read(PAGE_BYTES) == header(size_bytes, IDENTITY.bytes)


@pytest.mark.parametrize("size_bytes", [0, PAGE_BYTES, 2 * PAGE_BYTES - 1])
def test_there_is_room_for_the_page_and_another(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="too few"):
        header(size_bytes, IDENTITY.bytes)
