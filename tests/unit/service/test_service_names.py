"""Names and proxies: what Linux is told of the host's, and of each change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netbridge.hostnames import HostNames
from service import names as module
from service.names import NameWatch
from service.proxies import command_proxies
from service.settings import SettingsFile
from tests.unit.service.link_harness import asynchronous
from wire.agent import Names
from wire.network import BRIDGED, MIRRORED, NAT, NONE


def settings_file(tmp_path: Path, text: str = "") -> SettingsFile:
    file = tmp_path / "wslconfig"
    file.write_text(text)
    return SettingsFile(file)


@asynchronous
async def test_changes_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    host = [HostNames(("192.0.2.1", "127.0.0.53"), ("a.example",), ("192.0.2.2\ttwo",))]
    settings = settings_file(tmp_path)
    watch = NameWatch(settings.current, lambda: host[0])
    first = watch.read()
    assert first == Names(
        name_servers=("10.0.2.3",), search=("a.example",), hosts=("192.0.2.2\ttwo",)
    )
    told: asyncio.Queue[Names] = asyncio.Queue()
    watch.follow(first, told.put)
    host[0] = HostNames(("192.0.2.1", "127.0.0.53"))
    assert await told.get() == Names(name_servers=("10.0.2.3",))
    (tmp_path / "wslconfig").write_text("[wsl2]\ndnsProxy=false\n")
    assert await told.get() == Names(name_servers=("192.0.2.1", "10.0.2.3"))
    watch.end()
    host[0] = HostNames()
    await asyncio.sleep(0.01)
    assert told.empty()


HOST = {"http_proxy": "http://localhost:3128"}


@pytest.mark.parametrize(
    ("mode", "proxy"),
    [
        (NAT, "http://10.0.2.2:3128"),
        (MIRRORED, "http://localhost:3128"),
        (BRIDGED, None),
        (NONE, None),
    ],
)
def test_a_proxy_at_the_hosts_localhost(tmp_path: Path, mode: str, proxy: str | None) -> None:
    told = command_proxies(HOST, settings_file(tmp_path).current(), mode)
    assert told.get("http_proxy") == proxy


@pytest.mark.parametrize("line", ["autoProxy=false", "networkingMode=none", "safeMode=true"])
def test_no_proxies_are_wanted(tmp_path: Path, line: str) -> None:
    settings = settings_file(tmp_path, f"[wsl2]\n{line}\n").current()
    assert command_proxies({"https_proxy": "http://proxy.example"}, settings, NAT) == {}
