r"""What Wine's registry says of PATH, without starting Wine.

A prefix keeps it in text files, system.reg (HKEY_LOCAL_MACHINE) and user.reg (HKEY_CURRENT_USER),
which are written when the last program has ended (server/registry.c in Wine 8.0). A section begins
with "[key] time", a value is "name"="text" or "name"=str(2):"text with %variables%".
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator

_MACHINE = (
    "system.reg",
    "[System\\\\CurrentControlSet\\\\Control\\\\Session Manager\\\\Environment]",
)
_USER = ("user.reg", "[Environment]")
_PATH = re.compile(r'"path"=(?:str\(2\):)?"(.*)"$', re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")
_VARIABLES = re.compile(r"%(SystemRoot|windir)%", re.IGNORECASE)
_SYSTEM_ROOT = "C:\\windows"

DEFAULT_PATH = ";".join(
    (
        "C:\\windows\\system32",
        "C:\\windows",
        "C:\\windows\\system32\\wbem",
        "C:\\windows\\system32\\WindowsPowershell\\v1.0",
    )
)
"""What a new prefix has (loader/wine.inf)."""


def read_search_path(prefix: str) -> str:
    """PATH of the programs in the prefix directory `prefix`: the machine's, then the user's."""
    parts = []
    for file, section in (_MACHINE, _USER):
        path = os.path.join(prefix, file)
        try:
            status = os.stat(path)
        except OSError:
            continue
        parts.append(_path_in(path, section, status.st_mtime_ns, status.st_size))
    return ";".join(part for part in parts if part) or DEFAULT_PATH


@functools.lru_cache(maxsize=8)
def _path_in(path: str, section: str, _changed_ns: int, _size: int) -> str:
    """The value of PATH in a section; read again only when the file has changed."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return find_path(file, section)
    except OSError:
        return ""


def find_path(lines: Iterable[str], section: str) -> str:
    """The value of PATH below the line that begins with `section`, "" if there is none. Pure."""
    for line in _lines_of(lines, section):
        found = _PATH.match(line.rstrip("\n"))
        if found:
            text = _ESCAPED.sub(r"\1", found[1])
            return _VARIABLES.sub(lambda _: _SYSTEM_ROOT, text)
    return ""


def _lines_of(lines: Iterable[str], section: str) -> Iterator[str]:
    is_within = False
    for line in lines:
        if line.startswith("["):
            if is_within:
                return
            is_within = line.casefold().startswith(section.casefold())
        elif is_within:
            yield line
