"""Version comparison against what `dpkg --compare-versions` says (checked with dpkg 1.21.22)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.image.debversion import Version

ASCENDING = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0+b1",
    "0.1",
    "1.0~rc1",
    "1.0",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb13u1",
    "1.0-2",
    "1.0-10",
    "1.0a",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.0.1",
    "1.9",
    "1.10",
    "6.12.107-1",
    "6.12.117-1",
    "6.12.117+deb13-1",
    "1:0.1",
    "2:0",
]

versions = st.from_regex(r"\A(\d:)?\d[0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?\Z")


@pytest.mark.parametrize("lower, higher", list(pairwise(ASCENDING)))
def test_dpkgs_order(lower: str, higher: str) -> None:
    assert Version(lower) < Version(higher)
    assert not Version(higher) < Version(lower)
    assert Version(lower) != Version(higher)


def test_a_missing_revision_equals_revision_zero() -> None:
    assert Version("1.0") == Version("1.0-0")
    assert Version("0:1.0") == Version("1.0")
    assert Version("1.00") == Version("1.0")


@given(versions, versions, versions)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    x, y, z = sorted((Version(a), Version(b), Version(c)))
    assert x <= y <= z and x <= z
    assert (x < y) + (x == y) + (x > y) == 1


@given(versions, versions)
def test_equal_versions_have_equal_hashes(a: str, b: str) -> None:
    if Version(a) == Version(b):
        assert hash(Version(a)) == hash(Version(b))


@given(versions)
def test_a_tilde_sorts_before_the_version_it_is_added_to(text: str) -> None:
    assert Version(f"{text}~") < Version(text) < Version(f"{text}+")


@pytest.mark.parametrize(
    "relation, holds",
    [("<<", False), ("<=", True), ("=", True), (">=", True), (">>", False)],
)
def test_relations_of_equal_versions(relation: str, holds: bool) -> None:
    assert Version("1.0").satisfies(relation, Version("1.0-0")) is holds


def test_what_is_not_a_relation_or_an_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="relation"):
        Version("1").satisfies("<", Version("1"))
    with pytest.raises(ValueError, match="epoch"):
        Version("x:1")
