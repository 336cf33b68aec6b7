"""Windows paths as text: separators, `.` and `..`, forbidden characters (docs/paths.md §2). Pure.

Sources: Naming Files, Paths, and Namespaces
(https://learn.microsoft.com/windows/win32/fileio/naming-a-file), and for forbidden characters the
private-use mapping that WSL, Cygwin and Samba's catia share.
"""

from __future__ import annotations

from wire.errors import PathError

ESCAPE_BASE = 0xF000
"""A character c that Windows forbids in names is written U+F000 + c."""

FORBIDDEN = frozenset([*map(chr, range(1, 32)), *'"*:<>?\\|'])
"""What may be in a Linux name and not in a Windows one. Not "/" and NUL, which are in neither."""

_LONG = "\\\\?\\"
"""The prefix that turns parsing off in Windows ("verbatim", "extended-length")."""

_LONG_UNC = "UNC\\"
"""What follows that prefix where the path begins with a server."""

_ESCAPES = {ord(character): chr(ESCAPE_BASE + ord(character)) for character in FORBIDDEN}
_UNESCAPES = {ESCAPE_BASE + ord(character): character for character in FORBIDDEN}
_PATH_ESCAPES = {**_ESCAPES, ord("/"): "\\"}
_ASCII_FOLDS = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def escape(path: str) -> str:
    r"""A Linux path, or a part of one, in Windows' terms: `/a:b` is `\a<U+F03A>b`."""
    return path.translate(_PATH_ESCAPES)


def unescape(path: str) -> str:
    """`path` with every character that escape() writes turned back, but for separators."""
    return path.translate(_UNESCAPES)


def fold(text: str) -> str:
    """`text` for comparison without regard to the case of ASCII letters.

    Windows folds more (a table per volume, NTFS $UpCase); this much every implementation of
    the translation, in C too, has the same, and it covers drives, servers and distributions.
    """
    return text.translate(_ASCII_FOLDS)


def unify(path: str, separator: str) -> str:
    r"""`path` with every `/` and `\` as `separator`, once each, but for a pair at the start."""
    other = "/" if separator == "\\" else "\\"
    parts = path.replace(other, separator).split(separator)
    start = separator * 2 if parts[:2] == ["", ""] else separator if parts[0] == "" else ""
    body = separator.join(part for part in parts if part)
    if not body:
        return start[: len(path)]
    return start + body + (separator if parts[-1] == "" else "")


def is_absolute(path: str) -> bool:
    r"""Whether WSL takes `path` for an absolute Windows path: \\x..., X:x... and no shorter.

    So `C:` is a name in the current directory, and `C:x`, which Windows would look up in a
    directory of drive C's own, counts as absolute and is then refused.
    """
    if len(path) < 3:
        return False
    separators = path[0] in "\\/" and path[1] in "\\/"
    return separators or (path[0].isascii() and path[0].isalpha() and path[1] == ":")


def collapse(path: str, separator: str, start: int = 0) -> str | None:
    """`path` without empty, `.` and `..` components; None where it leads above its root.

    The first component after `start` is the root and is kept as it is ("" of a Linux path,
    "C:", a server). Names only: what a link leads to is not asked. A separator stands at the
    end where one did, and where a last `.` or `..` has gone, since that names a directory too.
    """
    root, *names = path[start:].split(separator)
    if not names:
        return path
    kept: list[str] = []
    for name in names:
        if name == "..":
            if not kept:
                return None
            kept.pop()
        elif name not in ("", "."):
            kept.append(name)
    directory = names[-1] in ("", ".", "..")
    body = "".join(separator + name for name in kept)
    return path[:start] + root + body + (separator if directory or not kept else "")


def canonical_windows_path(path: str) -> str:
    r"""An absolute Windows path in its one form: backslashes, no `.` and `..`, no `\\?\`.

    Raises PathError where `path` is not absolute, or leads above its root.
    """
    unified = unify(path, "\\")
    if not is_absolute(unified):
        raise PathError(path, "is not an absolute Windows path")
    if unified.startswith(_LONG):
        unified = unified[len(_LONG) :]
        if fold(unified).startswith(fold(_LONG_UNC)):
            unified = "\\\\" + unified[len(_LONG_UNC) :]
    is_unc = unified.startswith("\\\\")
    if is_unc and unified[2:].partition("\\")[0] in ("", ".", "?"):
        raise PathError(path, "names no server")
    if not is_unc and unified[1:3] != ":\\":
        raise PathError(
            path,
            "is relative to a drive's current directory, which only Windows knows",
            hint="Write the path from the drive's root: C:\\name.",
        )
    collapsed = collapse(unified, "\\", 2 if is_unc else 0)
    if collapsed is None:
        raise PathError(path, "leads above its root")
    return collapsed
