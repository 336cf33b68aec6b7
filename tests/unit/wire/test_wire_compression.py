"""Archives are told apart by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.compression import MAGIC_BYTES, sniff


@pytest.mark.parametrize(
    ("compress", "name"),
    [
        (gzip.compress, "gzip"),
        (lzma.compress, "xz"),
        (bz2.compress, "bzip2"),
        (lambda data: data, ""),
    ],
)
def test_what_compressors_write_is_recognised(
    compress: Callable[[bytes], bytes], name: str
) -> None:
    packed = compress(b"./\0" * 1000)
    assert sniff(packed) == name
    assert sniff(packed[:MAGIC_BYTES]) == name


@given(st.binary(max_size=2 * MAGIC_BYTES))
def test_any_beginning_has_an_answer(start: bytes) -> None:
    assert sniff(start) in ("gzip", "xz", "bzip2", "")
    assert sniff(start) == sniff(start[:MAGIC_BYTES])


@pytest.mark.parametrize("start", [b"", b"\x1f", b"\xfd7zXZ", b"BZ", b"\x28\xb5\x2f\xfd", b"./"])
def test_too_little_or_another_format_is_no_answer(start: bytes) -> None:
    assert sniff(start) == ""
