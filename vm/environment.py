"""What the programs that this package starts are told of their surroundings."""

from __future__ import annotations

from collections.abc import Mapping

# The variables that programs need in order to run at all, to find their temporary directory and,
# on Windows, their system libraries. Nothing of the user's session: no LD_PRELOAD, no proxies.
_KEPT_VARIABLES = frozenset(
    {"PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "USERPROFILE"}
)


def clean_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment a child gets: what it needs of `inherited`, and messages in English.

    English, because `vm.disk` and the hints of `vm.machine` read some of them.
    """
    kept = {name: value for name, value in inherited.items() if name.upper() in _KEPT_VARIABLES}
    return {**kept, "LC_ALL": "C"}
