"""A place for the machine at a bridge of the host: a tap interface, made and removed (Linux).

By netlink, through pyroute2. It takes the right to change the host's network (CAP_NET_ADMIN).
"""

from __future__ import annotations

import errno
import sys

from netbridge.errors import NetworkError

assert sys.platform != "win32"

_HINT_ROOT = "Run it as root, or leave networkingMode at Nat, which needs no rights."
_HINT_SWITCH = (
    "wsl2.vmSwitch in .wslconfig names a bridge of this host (`ip link show type bridge`)."
)


def make_tap(name: str, bridge: str) -> None:
    """Make the tap interface `name`, joined to `bridge`; one of that name is replaced.

    Blocks. Raises NetworkError.
    """
    from pyroute2 import IPRoute, NetlinkError  # takes a fifth of a second, and few need it

    try:
        with IPRoute() as route:
            bridges = route.link_lookup(ifname=bridge) if bridge else []
            if not bridges:
                what = f"there is no network interface {bridge}" if bridge else "no bridge is named"
                raise NetworkError(f"bridged networking: {what}", hint=_HINT_SWITCH)
            for index in route.link_lookup(ifname=name):
                route.link("del", index=index)
            route.link("add", ifname=name, kind="tuntap", mode="tap")
            (tap,) = route.link_lookup(ifname=name)
            try:
                route.link("set", index=tap, master=bridges[0], state="up")
            except NetlinkError as error:
                route.link("del", index=tap)
                if error.code != errno.EPERM:
                    why = f"bridged networking: {bridge} takes no interface: {error}"
                    raise NetworkError(why, hint=_HINT_SWITCH) from error
                raise
    except (NetlinkError, OSError) as error:
        code = error.code if isinstance(error, NetlinkError) else error.errno
        if code in (errno.EPERM, errno.EACCES):
            raise NetworkError(
                "bridged networking: this user may not change the host's network", hint=_HINT_ROOT
            ) from error
        raise NetworkError(f"bridged networking: {error}") from error


def remove_tap(name: str) -> None:
    """Remove the interface `name`, if it is there. Blocks; a failure is of no consequence."""
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            for index in route.link_lookup(ifname=name):
                route.link("del", index=index)
    except (NetlinkError, OSError):
        pass  # it is replaced when it is next needed
