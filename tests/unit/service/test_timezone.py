"""The host's time zone: what the environment says, and what no path may be made of."""

from __future__ import annotations

import pytest

from service.timezone import host_timezone, is_zone_name


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_zone_name(name)
    monkeypatch.setenv("TZ", name)
    assert host_timezone() == name


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc/passwd", "a//b", "a b", "é", "a\n"])
def test_what_is_no_name(name: str) -> None:
    assert not is_zone_name(name)


@pytest.mark.parametrize("value", ["CET-1CEST", "No/Such/Zone", "../etc/passwd"])
def test_an_unusable_zone_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", value)
    assert host_timezone() == ""
