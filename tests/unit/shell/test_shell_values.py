"""How values are read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shell.errors import UsageError
from shell.values import READERS, boolean, find_guid, new_name, read_value, size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        ("512B", 512),
        ("1K", 1024),
        ("1KB", 1024),
        ("3M", 3 * 2**20),
        ("3MB", 3 * 2**20),
        ("10G", 10 * 2**30),
        ("10GB", 10 * 2**30),
        ("2T", 2 * 2**40),
        ("2TB", 2 * 2**40),
        ("0064GB", 64 * 2**30),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert size(text, "--resize") == count


NO_SIZES = "|0|0GB|GB|10 GB|10gb|10Gb|-1|+1|1.5G|1GBB|1BB|1KG|1P|1_0|0x10|9999999TB"


@pytest.mark.parametrize("text", [*NO_SIZES.split("|"), "\u0661", str(2**63), "9" * 5000])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid size"):
        size(text, "--resize")


@pytest.mark.parametrize("name", ["a", "Debian-12.5_x", "..", "-", "0" * 256])
def test_names(name: str) -> None:
    assert new_name(name, "NAME") == name


@pytest.mark.parametrize(
    "name", ["", "0" * 257, "a b", "a/b", "é", "a\n", "Legacy", "legacy", "a:"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        new_name(name, "NAME")
    assert caught.value.context == "Service/RegisterDistro"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("0", False), ("true", True), ("FALSE", False), ("True", True)],
)
def test_booleans(text: str, value: bool) -> None:
    assert boolean(text, "--set-sparse") is value


@pytest.mark.parametrize("text", ["", "yes", "on", "2", "t"])
def test_what_is_no_boolean(text: str) -> None:
    with pytest.raises(UsageError):
        boolean(text, "--set-sparse")


@given(st.uuids(), st.booleans(), st.booleans())
def test_any_guid_is_found(guid: object, braces: bool, upper: bool) -> None:
    text = str(guid).upper() if upper else str(guid)
    assert find_guid("{" + text + "}" if braces else text) == "{" + str(guid) + "}"


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(READERS)), st.text())
def test_readers_raise_usage_errors_only(kind: str, text: str) -> None:
    try:
        read_value(kind, text, "--option", ())
    except UsageError as error:
        assert error.message
