"""The proxy settings of a user of Windows, from the registry (WinINET's "Internet Settings")."""

from __future__ import annotations

import sys
import winreg

from netbridge.proxies import wininet_proxies

assert sys.platform == "win32"

_KEY = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"


def user_proxies() -> dict[str, str]:
    """As variables of an environment; none where Windows uses none, or does not say."""
    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _KEY) as key:
            if not _value(key, "ProxyEnable"):
                return {}
            server, override = _value(key, "ProxyServer"), _value(key, "ProxyOverride")
    except OSError:
        return {}
    return wininet_proxies(str(server or ""), str(override or ""))


def _value(key: winreg.HKEYType, name: str) -> object:
    """A value of a key; None if it has none of that name."""
    try:
        return winreg.QueryValueEx(key, name)[0]
    except OSError:
        return None
