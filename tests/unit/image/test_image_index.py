"""Reading Release and Packages files."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.image.index import (
    LazyPackageIndex,
    MalformedIndex,
    Requirement,
    parse_depends,
    parse_package,
    parse_paragraph,
    parse_release,
)

DIGEST = "0" * 63 + "f"
RELEASE = f"""\
Origin: Debian
Suite: stable
Codename: trixie
Date: Sat, 21 Nov 2026 09:15:44 UTC
Valid-Until: Sat, 28 Nov 2026 09:15:44 UTC
MD5Sum:
 3e498904a30e240573dac8ddac594e6f  1961125 contrib/Contents-all
SHA256:
 {DIGEST}  123 main/binary-amd64/Packages.xz
"""
PACKAGE = f"""\
Package: libc6
Version: 2.41-12
Architecture: amd64
Depends: libgcc-s1, libx (>= 1:1.0) | liby:any (<< 2) [amd64]
Pre-Depends: dpkg
Provides: libc6-api (= 2.41), other
Description: a library
 with a second line
Filename: pool/main/g/glibc/libc6_2.41-12_amd64.deb
Size: 7
SHA256: {DIGEST}
"""


def test_a_release_file() -> None:
    release = parse_release(RELEASE)
    assert (release.suite, release.codename) == ("stable", "trixie")
    assert release.date.isoformat() == "2026-11-21T09:15:44+00:00"
    assert release.valid_until is not None
    assert (release.valid_until - release.date).days == 7
    file = release.files["main/binary-amd64/Packages.xz"]
    assert (file.size, file.sha256) == (123, DIGEST)
    assert list(release.files) == [file.path]  # MD5 sums are not taken for anything


@pytest.mark.parametrize(
    "change",
    [
        ("Codename: trixie\n", ""),
        ("Sat, 21 Nov 2026 09:15:44 UTC", "yesterday"),
        (DIGEST, DIGEST[1:]),
        (DIGEST, DIGEST.upper()),
        ("123 main", "-1 main"),
        ("main/binary-amd64/Packages.xz", "../Packages.xz"),
        ("main/binary-amd64/Packages.xz", "/etc/passwd"),
        ("main/binary-amd64/Packages.xz", "a b"),
        ("Suite: stable\n", "Suite: stable\nSUITE: other\n"),
        ("Origin: Debian\n", " continued\n"),
        ("Origin: Debian\n", "no colon\n"),
    ],
)
def test_a_release_file_that_breaks_a_rule_is_refused(change: tuple[str, str]) -> None:
    with pytest.raises(MalformedIndex):
        parse_release(RELEASE.replace(*change))


def test_a_package() -> None:
    package = parse_package(PACKAGE, "http://mirror")
    assert str(package) == "libc6 2.41-12"
    assert package.depends == (
        (Requirement("dpkg"),),
        (Requirement("libgcc-s1"),),
        (Requirement("libx", ">=", "1:1.0"), Requirement("liby", "<<", "2")),
    )
    assert package.provides == (Requirement("libc6-api", "=", "2.41"), Requirement("other"))
    assert package.file.path.endswith("libc6_2.41-12_amd64.deb")
    assert package.archive == "http://mirror"


@pytest.mark.parametrize(
    "change",
    [
        ("Version: 2.41-12", "Version: x:1"),
        ("pool/main/g/glibc", "pool/../.."),
        ("Size: 7", "Size: seven"),
        ("libgcc-s1,", "libgcc-s1 (~ 1),"),
        ("libgcc-s1,", "../etc,"),
    ],
)
def test_a_package_that_breaks_a_rule_is_refused(change: tuple[str, str]) -> None:
    with pytest.raises(MalformedIndex):
        parse_package(PACKAGE.replace(*change))


def test_an_index_finds_the_newest_version_over_several_files() -> None:
    index = LazyPackageIndex()
    index.add_text(PACKAGE + "\n" + PACKAGE.replace("2.41-12", "2.41-9"), "http://main")
    index.add_text(PACKAGE.replace("2.41-12", "2.41-12+deb13u1"), "http://security")
    newest = index.newest("libc6")
    assert newest is not None
    assert (newest.version, newest.archive) == ("2.41-12+deb13u1", "http://security")
    assert len(index.packages["libc6"]) == 3
    assert index.newest("absent") is None


def test_a_virtual_package_is_found_by_its_providers() -> None:
    index = LazyPackageIndex()
    index.add_text(PACKAGE, "")
    index.load("other")
    assert [package.name for package, _ in index.providers["other"]] == ["libc6"]
    index.load("libc6")  # again, by its own name: nothing doubles
    assert len(index.packages["libc6"]) == 1


def test_an_index_that_does_not_start_a_paragraph_with_its_name_is_refused() -> None:
    with pytest.raises(MalformedIndex):
        LazyPackageIndex().add_text("Version: 1\nPackage: a\n", "")


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(MalformedIndex):
        parse_paragraph(text)
    with contextlib.suppress(MalformedIndex):
        parse_depends(text)
    for template in (RELEASE, PACKAGE):
        lines = template.splitlines()
        for number in range(len(lines)):
            changed = "\n".join([*lines[:number], text, *lines[number + 1 :]])
            with contextlib.suppress(MalformedIndex):
                parse_release(changed)
            with contextlib.suppress(MalformedIndex):
                parse_package(changed)


@given(
    st.dictionaries(
        st.from_regex(r"\A[a-z][a-z0-9-]{0,8}\Z"), st.from_regex(r"\A[!-~]([ -~]{0,20}[!-~])?\Z")
    )
)
def test_fields_are_read_as_they_are_written(fields: dict[str, str]) -> None:
    text = "".join(f"{name.title()}: {value}\n" for name, value in fields.items())
    assert parse_paragraph(text) == fields
