"""The environment of a Windows process: names without case, in order (docs/paths.md §6). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wire.errors import ArgumentError


def fold_name(name: str) -> str:
    """`name` as Windows compares names of variables: each character on its own, in upper case.

    Windows compares with RtlCompareUnicodeString, whose table maps one UTF-16 unit to one, so a
    character such as U+00DF that has no single capital stays.
    """
    return "".join(
        capital if len(capital := character.upper()) == 1 else character for character in name
    )


def merge_environment(host: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The variables of `host` with `changes` made; an empty value there deletes.

    Names that differ in case only are one variable, which keeps the spelling it has on the
    host. Raises ArgumentError where a name or value is none that Windows can hold.
    """
    spelling = {fold_name(name): name for name in host}
    merged = dict(host)
    for name, value in changes.items():
        _check(name, value)
        folded = fold_name(name)
        known = spelling.setdefault(folded, name)
        if value:
            merged[known] = value
        else:
            merged.pop(known, None)
    return merged


def environment_block(environment: Mapping[str, str]) -> str:
    r"""lpEnvironment of CreateProcessW, to be encoded as UTF-16: NAME=value\0 ... \0.

    Sorted as Windows sorts, by fold_name() in order of UTF-16 units
    (https://learn.microsoft.com/windows/win32/procthread/changing-environment-variables). Raises
    ArgumentError as merge_environment() does.
    """
    for name, value in environment.items():
        _check(name, value)
    names = sorted(environment, key=_sort_key)
    return (
        "".join(f"{name}={environment[name]}\0" for name in names) + ("" if names else "\0") + "\0"
    )


def _sort_key(name: str) -> bytes:
    return fold_name(name).encode("utf-16-be", "surrogatepass")


def _check(name: str, value: str) -> None:
    # Windows keeps a drive's current directory in a variable like "=C:".
    if not name or "=" in name[1:] or "\0" in name:
        raise ArgumentError(name, "is no name of an environment variable")
    if "\0" in value:
        raise ArgumentError(value, "holds a NUL character")
