"""The host's web proxies, as Linux programs can use them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from wire.network import PROXY_VARIABLES


def linux_proxies(host: Mapping[str, str], loopback: str) -> dict[str, str]:
    """The variables that tell Linux programs of the host's proxies.

    host: the host's own, in any case; where both are there, the lower one counts, as it does for
    programs. Linux gets both. loopback: where Linux reaches the host's 127.0.0.1; "" if nowhere.
    A proxy that Linux cannot reach, and one whose URL nobody can read, is left out.
    """
    found: dict[str, str] = {}
    for name, value in sorted(host.items()):  # upper case comes before lower
        if name.lower() in PROXY_VARIABLES and value:
            found[name.lower()] = value
    variables: dict[str, str] = {}
    for name, value in found.items():
        proxy = value if name == "no_proxy" else _reachable(value, loopback)
        if proxy:
            variables |= {name: proxy, name.upper(): proxy}
    return variables if variables.keys() - {"no_proxy", "NO_PROXY"} else {}


def _reachable(url: str, loopback: str) -> str:
    """A proxy's URL as it is in Linux; "" if there is none."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
    if not host:
        return ""
    if not _is_loopback(host):
        return url
    if loopback == "127.0.0.1":
        return url
    if not loopback or host not in ("127.0.0.1", "localhost"):
        return ""  # the network leads to 127.0.0.1 alone
    start = url.index("://") + 3 if "://" in url else 0
    end = min((at for at in map(lambda c: url.find(c, start), "/?#") if at >= 0), default=len(url))
    credentials, at, place = url[start:end].rpartition("@")
    port = place[len(host) :]
    return f"{url[:start]}{credentials}{at}{loopback}{port}{url[end:]}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def wininet_proxies(server: str, override: str) -> dict[str, str]:
    """The proxy variables that settings of Windows stand for (WinINET, INTERNET_PROXY_INFO).

    server: "host:port" for all protocols, or "http=host:port;https=…;socks=…". override: hosts
    that need no proxy, by semicolons; `<local>`, names without a dot, no variable can say.
    """
    proxies: dict[str, str] = {}
    for entry in server.replace(" ", ";").split(";"):
        protocol, has_protocol, place = entry.rpartition("=")
        if not place:
            continue
        if not has_protocol:
            proxies |= {"http_proxy": _url(place), "https_proxy": _url(place)}
        elif protocol in ("http", "https"):
            proxies[f"{protocol}_proxy"] = _url(place)
        elif protocol == "socks":
            proxies["all_proxy"] = place if "://" in place else f"socks5://{place}"
    if proxies:
        hosts = [host for host in override.replace(" ", ";").split(";") if host]
        # A leading "*." is what a leading dot is in the variable.
        kept = [host.removeprefix("*") for host in hosts if not host.startswith("<")]
        if kept:
            proxies["no_proxy"] = ",".join(kept)
    return proxies


def _url(place: str) -> str:
    return place if "://" in place else f"http://{place}"
