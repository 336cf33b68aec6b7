"""WSLENV: which environment variables cross between the systems, and how (docs/paths.md §3). Pure.

WSLENV is a ":" list of NAME or NAME/flags: p and l mark a path or list of paths to translate
(either may be both), u an entry for Windows to Linux only, w one for Linux to Windows only.
"""

from __future__ import annotations

from wire.pathlists import list_to_linux, list_to_windows

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wire.pathlists import Translated
    from wire.paths import Translator

WSLENV = "WSLENV"
_BLANKS = " \t\n\v\f\r"
_PATH_FLAGS = frozenset("pl")
_TO_LINUX_FLAG = "u"
_TO_WINDOWS_FLAG = "w"
_FLAGS = _PATH_FLAGS | {_TO_LINUX_FLAG, _TO_WINDOWS_FLAG}


class Entry:
    """One entry: the variable `name`, whether it `is_path`, and the directions it crosses in."""

    __slots__ = ("is_path", "name", "to_linux", "to_windows")

    def __init__(self, name: str, flags: str = "") -> None:
        self.name = name
        self.is_path = not _PATH_FLAGS.isdisjoint(flags)
        self.to_linux = _TO_WINDOWS_FLAG not in flags
        self.to_windows = _TO_LINUX_FLAG not in flags


class Block:
    """The variables that cross, and warnings for the user.

    On the way to Windows an empty value says that the variable is to be deleted there.
    """

    __slots__ = ("variables", "warnings")

    def __init__(self, variables: dict[str, str], warnings: tuple[str, ...]) -> None:
        self.variables = variables
        self.warnings = warnings


def parse_wslenv(value: str) -> list[Entry]:
    """The entries of `value`; those with an unknown flag, which a newer WSL may define, are out.

    So are empty names and WSLENV itself, which always crosses as it is.
    """
    entries = []
    for text in value.rstrip(_BLANKS).split(":"):
        name, _, flags = text.partition("/")
        if name and "=" not in name and name != WSLENV and _FLAGS.issuperset(flags):
            entries.append(Entry(name, flags))
    return entries


def variables_to_linux(environment: Mapping[str, str], translator: Translator) -> Block:
    """What of a Windows environment goes into a Linux process' one.

    A listed variable that is not defined is set empty. A path of which no element translates is
    left out.
    """

    def translate(value: str) -> Translated:
        return list_to_linux(value, translator)

    entries = parse_wslenv(environment.get(WSLENV, ""))
    return _collect(environment, [entry for entry in entries if entry.to_linux], translate)


def variables_to_windows(
    environment: Mapping[str, str], translator: Translator, getcwd: Callable[[], str]
) -> Block:
    """What of a Linux environment goes into a Windows process' one.

    A listed variable that is not defined gets an empty value, which deletes it there.
    """

    def translate(value: str) -> Translated:
        return list_to_windows(value, translator, getcwd)

    entries = parse_wslenv(environment.get(WSLENV, ""))
    return _collect(environment, [entry for entry in entries if entry.to_windows], translate)


def _collect(
    environment: Mapping[str, str], entries: list[Entry], translate: Callable[[str], Translated]
) -> Block:
    variables = {WSLENV: environment.get(WSLENV, "")}
    warnings: list[str] = []
    for entry in entries:
        value = environment.get(entry.name)
        if entry.is_path and value is not None:
            translated = translate(value)
            warnings += [text for text in translated.warnings if text not in warnings]
            if translated.value is None:
                continue
            value = translated.value
        variables[entry.name] = value or ""
    return Block(variables, tuple(warnings))
