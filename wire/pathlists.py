r"""Lists of paths, and the directory a command starts in, across the systems (docs/paths.md §4).

Windows separates with ";", Linux with ":". Pure.
"""

from __future__ import annotations

from wire.errors import PathError
from wire.windowspath import is_absolute

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.paths import Translator

GPU_LIBRARIES = "/usr/lib/wsl/lib"
"""The directory that WSL puts into PATH before the Windows directories."""

HOME = "~"
"""In a list of directories to start in: the user's home."""


class Translated:
    """The outcome of translating something of which parts can fail.

    `value` is None where nothing is left of it; `warnings` are sentences for the user.
    """

    __slots__ = ("value", "warnings")

    def __init__(self, value: str | None, warnings: tuple[str, ...] = ()) -> None:
        self.value = value
        self.warnings = warnings


def untranslatable(path: str) -> str:
    """The warning that `path` was left out, in WSL's words, which scripts look for."""
    return f"Failed to translate '{path}'"


def list_to_linux(value: str, translator: Translator) -> Translated:
    """A ";" list of Windows paths as a ":" list of Linux paths.

    Relative elements are skipped. Those that do not translate are left out with a warning, as
    are those whose Linux path holds a ":", which would be two elements.
    """

    def translate(path: str) -> str | None:
        return translator.absolute_to_linux(path) if is_absolute(path) else None

    return _translate_list(_split_windows(value), ":", translate)


def list_to_windows(value: str, translator: Translator, getcwd: Callable[[], str]) -> Translated:
    """A ":" list of Linux paths as a ";" list of Windows paths; links are not followed.

    Relative elements stay relative. Those that do not translate are left out with a warning, as
    are those whose Windows path holds a ";".
    """

    def translate(path: str) -> str:
        return translator.to_windows(path, getcwd)

    return _translate_list([part for part in value.split(":") if part], ";", translate)


def _translate_list(
    elements: list[str], separator: str, translate: Callable[[str], str | None]
) -> Translated:
    """The translations of `elements`, but for those that `translate` skips with None."""
    kept = []
    warnings = []
    for element in elements:
        try:
            result = translate(element)
        except PathError:
            warnings.append(untranslatable(element))
            continue
        if result is not None and separator in result:
            warnings.append(untranslatable(element))
        elif result is not None:
            kept.append(result)
    return Translated(separator.join(kept) if kept else None, tuple(warnings))


def _split_windows(value: str) -> list[str]:
    """Elements of a Windows list; a quoted one may hold ";" (SearchPath, and cmd.exe's PATH)."""
    elements = [""]
    in_quotes = False
    for character in value:
        if character == '"':
            in_quotes = not in_quotes
        elif character == ";" and not in_quotes:
            elements.append("")
        else:
            elements[-1] += character
    return [element for element in elements if element]


def append_windows_path(
    path: str, windows_path: str, translator: Translator, *, libraries: bool = False
) -> Translated:
    """The PATH of a Linux process with the directories of Windows' PATH at its end.

    `libraries` puts GPU_LIBRARIES before them. An element already there is not added again, so
    it keeps the place, and the precedence, that the distribution gave it. The value is never
    None.
    """
    added = list_to_linux(windows_path, translator)
    elements = path.split(":") if path else []
    present = set(elements)
    for element in [GPU_LIBRARIES] * libraries + (added.value or "").split(":"):
        if element and element not in present:
            present.add(element)
            elements.append(element)
    return Translated(":".join(elements), added.warnings)


def starting_directories(
    windows_directory: str, translator: Translator
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Directories to start in, the best first, and warnings, for a command typed in Windows.

    The Linux path of `windows_directory` and then the user's home; only the latter, with a
    warning, where there is none.
    """
    try:
        return (translator.absolute_to_linux(windows_directory), HOME), ()
    except PathError:
        return (HOME,), (untranslatable(windows_directory),)
