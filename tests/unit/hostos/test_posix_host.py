"""A host without Wine."""

from __future__ import annotations

import asyncio
import errno

import pytest

from interop.hostos.contract import Host, Program
from interop.hostos.errors import NoWindowsError
from interop.hostos.posix import PosixHost


def test_it_says_what_is_missing() -> None:
    host: Host = PosixHost()
    with pytest.raises(NoWindowsError, match="no Windows here") as caught:
        asyncio.run(host.start(Program("C:\\x.exe")))
    assert caught.value.number == errno.ENOEXEC
    assert "Wine" in caught.value.hint
    assert host.drives() == {"Z": "/"}
    assert host.windows_path("/home/user") == "Z:\\home\\user"
    assert host.search_path() == ""
