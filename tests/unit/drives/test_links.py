"""Which symbolic links of Linux can be Windows' own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.drives.links import Native, native
from interop.drives.ntformats import Link, linux_target


@pytest.mark.parametrize(
    ("directory", "target", "expected"),
    [
        (b"", b"file", Native("file", b"file")),
        (b"a\\b", b"c/d", Native("c\\d", b"a\\b\\c\\d")),
        (b"a\\b", b"../c", Native("..\\c", b"a\\c")),
        (b"a\\b", b"../..", None),  # the root itself has no name
        (b"a\\b", b"../../c", Native("..\\..\\c", b"c")),
        (b"a\\b", b"../../../c", None),  # beyond the root
        (b"", b"../c", None),
        (b"a", b"./b", Native(".\\b", b"a\\b")),
        (b"a", b"b/../c", None),  # b may be a link
        (b"a", b"b/.", None),
        (b"", b"/etc/passwd", None),
        (b"", b"b/", None),
        (b"", b"b//c", None),
        (b"", b"", None),
        (b"", b"odd:name", Native("odd\uf03aname", b"odd\xef\x80\xbaname")),
        (b"", b"C:", Native("C\uf03a", b"C\xef\x80\xba")),
        (b"", b"a\\b", Native("a\uf05cb", b"a\xef\x81\x9cb")),
        (b"", b"\xff", None),
    ],
)
def test_links_and_where_they_lead(
    directory: bytes, target: bytes, expected: Native | None
) -> None:
    assert native(target, directory) == expected


@given(
    st.lists(st.sampled_from([b"..", b".", b"a", b"b:", b"", b"c\\d"]), max_size=6),
    st.lists(st.sampled_from([b"x", b"y"]), max_size=3),
)
def test_linux_reads_what_it_wrote_and_nothing_leads_out(
    names: list[bytes], directory: list[bytes]
) -> None:
    target = b"/".join(names)
    link = native(target, b"\\".join(directory))
    if link is not None:
        assert linux_target(Link(None, link.text, True), "/mnt") == target
        depth = len(directory)
        for name in link.text.split("\\"):
            depth += {"..": -1, ".": 0}.get(name, 1)
            assert depth >= 0
        assert depth == len(link.path.split(b"\\"))
