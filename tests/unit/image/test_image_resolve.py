"""The closure over dependencies."""

from __future__ import annotations

import pytest

from vm.image.errors import PackageNotFound
from vm.image.index import LazyPackageIndex
from vm.image.resolve import closure

DIGEST = "0" * 64


def index_of(*packages: str) -> LazyPackageIndex:
    """An index of packages written as "name version; depends; provides"."""
    index = LazyPackageIndex()
    paragraphs = []
    for text in packages:
        head, depends, provides = ([*text.split(";"), "", ""])[:3]
        name, version = head.split()
        paragraphs.append(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            f"Depends: {depends.strip()}\nProvides: {provides.strip()}\n"
            f"Filename: pool/{name}_{version}.deb\nSize: 1\nSHA256: {DIGEST}\n"
        )
    index.add_text("\n".join(paragraphs), "")
    return index


def names(index: LazyPackageIndex, *wanted: str, leave_out: tuple[str, ...] = ()) -> list[str]:
    return [str(package) for package in closure(index, wanted, leave_out)]


def test_dependencies_of_dependencies_come_along_once() -> None:
    index = index_of("a 1; b, c", "b 1; d", "c 1; d, a", "d 1", "e 1")
    assert names(index, "a") == ["a 1", "b 1", "c 1", "d 1"]


def test_the_newest_version_that_satisfies_is_taken() -> None:
    index = index_of("a 1; b (<< 3)", "b 1", "b 2", "b 3")
    assert names(index, "a") == ["a 1", "b 2"]


def test_the_first_alternative_that_exists_is_taken() -> None:
    index = index_of("a 1; none | b (>= 2) | c | d", "b 1", "c 1", "d 1")
    assert names(index, "a") == ["a 1", "c 1"]


def test_an_alternative_that_is_there_already_is_preferred() -> None:
    index = index_of("a 1; b | c", "b 1", "c 1")
    assert names(index, "c", "a") == ["a 1", "c 1"]


def test_a_virtual_package_is_met_by_a_provider() -> None:
    index = index_of("a 1; mta", "postfix 1; ; mta", "exim 1; ; mta", "exim 2; ; mta")
    assert names(index, "a") == ["a 1", "exim 2"]
    assert names(index, "postfix", "a") == ["a 1", "postfix 1"]


def test_only_a_versioned_provides_meets_a_version() -> None:
    index = index_of("a 1; api (>= 2)", "x 1; ; api", "y 1; ; api (= 1)", "z 1; ; api (= 2)")
    assert names(index, "a") == ["a 1", "z 1"]


def test_what_is_left_out_is_not_followed() -> None:
    index = index_of("a 1; b, c", "b 1; missing", "c 1")
    assert names(index, "a", leave_out=("b",)) == ["a 1", "c 1"]


def test_what_nothing_satisfies_is_said_with_who_needs_it() -> None:
    with pytest.raises(PackageNotFound) as caught:
        names(index_of("a 1; b (>= 2)", "b 1"), "a")
    assert (caught.value.wanted, caught.value.needed_by) == ("b (>= 2)", "a")
    with pytest.raises(PackageNotFound):
        names(index_of("a 1"), "absent")


def test_two_versions_of_one_package_are_never_taken_together() -> None:
    with pytest.raises(PackageNotFound):
        names(index_of("a 1; b (= 1), c", "c 1; b (= 2)", "b 1", "b 2"), "a")
