"""Lists of distributions: what the format says, what a hostile one may not do, what is chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServiceError
from service.manifest import (
    SHOWN_VERSIONS,
    Download,
    Manifest,
    find_version,
    normal_digest,
    offered,
    parse_manifest,
)
from wire import failures

URL = "https://example.org/list.json"
DIGEST = "ab" * 32


def entry(name: str, *, default: bool = False, **changes: Any) -> dict[str, Any]:
    """A version as a list has it."""
    url = {"Url": f"https://example.org/{name}.wsl", "Sha256": DIGEST}
    item = {"Name": name, "FriendlyName": f"The {name}", "Default": default, "Amd64Url": url}
    return {**item, "Arm64Url": url, **changes}


BODY: dict[str, Any] = {
    "Default": "Ubuntu",
    "ModernDistributions": {
        "Ubuntu": [entry("Ubuntu", default=True), entry("Ubuntu-24.04")],
        "Alma": [entry("Alma-8"), entry("Alma-9"), entry("Alma-10", default=True)],
        "Arm": [entry("ArmOnly", default=True, Amd64Url=None)],
        "Many": [entry(f"Many-{number}") for number in range(9)],
    },
    "Distributions": [
        {"Name": "Ubuntu", "FriendlyName": "Old", "StoreAppId": "1", "Amd64": True, "Arm64": True},
        {"Name": "Oracle", "Amd64": True, "Amd64PackageUrl": "https://x/y.appx"},
        {"Name": "ArmLegacy", "Amd64": False, "Arm64": True},
    ],
}


def parse(body: object, url: str = URL, architecture: str = "Amd64") -> Manifest:
    return parse_manifest(json.dumps(body).encode(), url, architecture)


def found(name: str, *bodies: object) -> str:
    """The name of the version that `name` means."""
    version = find_version(map(parse, bodies or (BODY,)), name)
    return "" if version is None else version.name


# -- the format ------------------------------------------------------------------------------------


def test_versions_carry_what_is_needed_to_install_them() -> None:
    version = find_version([parse(BODY)], "Ubuntu")
    assert version is not None
    assert version.friendly_name == "The Ubuntu"
    assert version.download == Download("https://example.org/Ubuntu.wsl", DIGEST)


def test_what_is_not_for_the_architecture_is_left_out() -> None:
    assert found("ArmOnly") == ""
    manifest = parse(BODY, architecture="Arm64")
    version = find_version([manifest], "armonly")
    assert version is not None and version.name == "ArmOnly"
    assert manifest.legacy == ("Ubuntu", "ArmLegacy")


def test_both_halves_may_be_missing() -> None:
    assert parse({}) == Manifest(URL, (), ())
    assert parse({"ModernDistributions": None, "Distributions": None}) == Manifest(URL, (), ())


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (DIGEST, DIGEST),
        (DIGEST.upper(), DIGEST),
        ("0x" + DIGEST, DIGEST),
        (f" 0X{DIGEST} ", DIGEST),
        (DIGEST[:-1], ""),
        (DIGEST + "00", ""),
        ("0x0x" + DIGEST[:-2], ""),
        ("zz" * 32, ""),
        ("", ""),
    ],
)
def test_digests_with_and_without_0x(text: str, digest: str) -> None:
    assert normal_digest(text) == digest


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "the list is not an object"),
        ({"ModernDistributions": []}, "ModernDistributions"),
        ({"ModernDistributions": {"A": {}}}, "ModernDistributions.A is not an array"),
        ({"ModernDistributions": {"A": [1]}}, "ModernDistributions.A[0] is not an object"),
        ({"ModernDistributions": {"A": [{}]}}, "ModernDistributions.A[0] has no valid Name"),
        ({"ModernDistributions": {"A": [entry("a", Default=1)]}}, "A[0] has no valid Default"),
        ({"ModernDistributions": {"A": [entry("a", Amd64Url="x")]}}, "no valid Amd64Url"),
        (
            {"ModernDistributions": {"A": [entry("a", Amd64Url={"Sha256": DIGEST})]}},
            "A[0].Amd64Url has no valid Url",
        ),
        (
            {"ModernDistributions": {"A": [entry("a", Amd64Url={"Url": "ftp://x/y"})]}},
            "A[0].Amd64Url.Url is no https, http, file address",
        ),
        ({"Distributions": {}}, "Distributions"),
        ({"Distributions": [{"Name": "x", "Amd64": "yes"}]}, "Distributions[0]"),
    ],
)
def test_what_is_not_of_the_format_is_named(body: object, place: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(body)
    assert caught.value.code == failures.INVALID_JSON
    assert place in caught.value.message
    assert URL in caught.value.message


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=repr)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        parse_manifest(data, URL)
    assert caught.value.code == failures.INVALID_JSON


def test_a_list_from_the_network_may_not_name_files_of_this_computer() -> None:
    body = {
        "ModernDistributions": {
            "A": [entry("a", Amd64Url={"Url": "file://server/share/a.wsl", "Sha256": DIGEST})]
        }
    }
    with pytest.raises(ServiceError) as caught:
        parse(body)
    assert "file of this computer" in caught.value.message
    assert find_version([parse(body, url="file:///list.json")], "a") is not None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([BODY]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ModernDistributions", "Distributions", "Name", "Amd64Url", "Url", "Sha256"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_any_json_is_a_list_or_refused(body: object) -> None:
    try:
        manifest = parse(body)
    except ServiceError as error:
        assert error.code == failures.INVALID_JSON
    else:
        for version in offered([manifest]):
            assert find_version([manifest], version.name) is not None


# -- choosing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("Ubuntu", "Ubuntu"),
        ("uBUNTU", "Ubuntu"),
        ("ubuntu-24.04", "Ubuntu-24.04"),
        ("Alma", "Alma-10"),
        ("alma-8", "Alma-8"),
        ("Many", ""),  # none of its versions is the default
        ("Many-8", "Many-8"),
        ("Nothing", ""),
        ("The Ubuntu", ""),
    ],
)
def test_names_mean_a_flavors_default_or_a_version(name: str, version: str) -> None:
    assert found(name) == version


def test_modern_entries_come_before_app_packages_which_are_refused() -> None:
    assert found("Ubuntu") == "Ubuntu"
    with pytest.raises(ServiceError) as caught:
        found("oracle")
    assert caught.value.code == failures.UNSUPPORTED
    assert "--from-file" in caught.value.hint


def test_earlier_lists_win_and_later_ones_are_not_asked_for() -> None:
    other = {"ModernDistributions": {"X": [entry("Ubuntu", FriendlyName="Mine")]}}

    def manifests() -> Any:
        yield parse(other)
        raise AssertionError("the second list was not needed")

    version = find_version(manifests(), "ubuntu")
    assert version is not None and version.friendly_name == "Mine"
    assert found("Alma", other, BODY) == "Alma-10"


def test_the_first_versions_of_each_flavor_are_shown() -> None:
    names = [version.name for version in offered([parse(BODY)])]
    assert names == ["Ubuntu", "Ubuntu-24.04", "Alma-8", "Alma-9", "Alma-10"] + [
        f"Many-{number}" for number in range(SHOWN_VERSIONS)
    ]


def test_a_name_of_two_lists_is_shown_once() -> None:
    other = {"ModernDistributions": {"X": [entry("ALMA-8", FriendlyName="Mine")]}}
    shown = offered([parse(other), parse(BODY)])
    assert [version.friendly_name for version in shown if version.name.lower() == "alma-8"] == [
        "Mine"
    ]
