"""Lists of distributions in the format of WSL's DistributionInfo.json (behaviour §9). Pure.

A list groups versions by flavor ("Ubuntu" has "Ubuntu", "Ubuntu-24.04", …), each with the URL and
SHA-256 of a .wsl file per architecture. Its older half names Windows app packages; those are
known here only to say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from service.errors import ServiceError
from wire import failures

ARCHITECTURE = "Amd64"
"""What the machine runs, in the format's spelling ("Amd64Url"); the other one is "Arm64"."""
SHOWN_VERSIONS = 4
"""Of a flavor, in `--list --online`; the others can be installed all the same."""
SCHEMES = ("https", "http", "file")


@dataclass(frozen=True)
class Download:
    """A file to fetch."""

    url: str
    sha256: str
    """64 lower-case hexadecimal digits; "" where the list gives none that is valid."""


@dataclass(frozen=True)
class Version:
    """One installable distribution."""

    name: str
    friendly_name: str
    is_default: bool
    """Whether its flavor's name stands for it."""
    download: Download


@dataclass(frozen=True)
class Flavor:
    """Versions of one distribution, the list's order."""

    name: str
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Manifest:
    """A list, cut down to one architecture. `url` is where it came from."""

    url: str
    flavors: tuple[Flavor, ...]
    legacy: tuple[str, ...]
    """Names of what the list offers as a Windows app package only."""


def parse_manifest(data: bytes, url: str, architecture: str = ARCHITECTURE) -> Manifest:
    """The list in `data`, without what is not for `architecture`.

    Raises ServiceError (WSL_E_INVALID_JSON) naming the first thing that is not of the format.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _malformed(url, f"it is not JSON: {error}") from None
    reader = _Reader(url, architecture)
    modern = reader.get(body, "the list", "ModernDistributions", dict, {})
    flavors = tuple(
        Flavor(name, tuple(reader.versions(versions, f"ModernDistributions.{name}")))
        for name, versions in modern.items()
    )
    legacy = reader.get(body, "the list", "Distributions", list, [])
    return Manifest(url, flavors, tuple(reader.legacy_names(legacy)))


class _Reader:
    """Takes JSON apart and says where it is wrong."""

    def __init__(self, url: str, architecture: str) -> None:
        self._url = url
        self._architecture = architecture

    def get(self, item: Any, where: str, key: str, kind: type, default: Any = None) -> Any:
        """`item[key]`, which must be a `kind`; `default` if that is given and there is none.

        null counts as absent. Raises ServiceError.
        """
        if not isinstance(item, dict):
            raise _malformed(self._url, f"{where} is not an object")
        value = item.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, kind):
            raise _malformed(self._url, f"{where} has no valid {key}")
        return value

    def versions(self, items: Any, where: str) -> Iterable[Version]:
        """The versions of a flavor that there are for the architecture."""
        if not isinstance(items, list):
            raise _malformed(self._url, f"{where} is not an array")
        for index, item in enumerate(items):
            place = f"{where}[{index}]"
            name = self.get(item, place, "Name", str)
            friendly_name = self.get(item, place, "FriendlyName", str, name)
            is_default = self.get(item, place, "Default", bool, False)
            key = f"{self._architecture}Url"
            download = self.get(item, place, key, dict, {})
            if download:
                place = f"{place}.{key}"
                found = self._download(download, place)
                yield Version(name, friendly_name, is_default, found)

    def _download(self, item: dict[str, Any], where: str) -> Download:
        url = self.get(item, where, "Url", str)
        digest = self.get(item, where, "Sha256", str, "")
        scheme = scheme_of(url)
        if scheme not in SCHEMES:
            raise _malformed(self._url, f"{where}.Url is no {', '.join(SCHEMES)} address")
        if scheme == "file" and scheme_of(self._url) != "file":
            # The network must not make us open files (on Windows: connect to file servers).
            raise _malformed(self._url, f"{where}.Url names a file of this computer")
        return Download(url, normal_digest(digest))

    def legacy_names(self, items: list[Any]) -> Iterable[str]:
        """The names of app packages that there are for the architecture."""
        for index, item in enumerate(items):
            place = f"Distributions[{index}]"
            name = self.get(item, place, "Name", str)
            if self.get(item, place, self._architecture, bool, False):
                yield name


def scheme_of(url: str) -> str:
    """The scheme of a URL; "" for what is none."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def normal_digest(text: str) -> str:
    """A SHA-256 as hashlib writes it, from one with or without 0x; "" for anything else."""
    digest = text.strip().lower().removeprefix("0x")
    return digest if len(digest) == 64 and not digest.strip("0123456789abcdef") else ""


def _malformed(url: str, why: str) -> ServiceError:
    return ServiceError(
        failures.INVALID_JSON,
        f"the list of distributions at {url} cannot be used: {why}",
        hint="It must have the format of WSL's DistributionInfo.json. .wslconfig and "
        "ISTHMUS_DISTRIBUTION_LIST say which lists are used.",
    )


# -- choosing --------------------------------------------------------------------------------------


def find_version(manifests: Iterable[Manifest], name: str) -> Version | None:
    """The distribution that `name` means, case does not matter; None if no list has it.

    A flavor's name means its default version. Earlier lists win, and later ones are not asked
    for then. Raises ServiceError if a list has it as an app package only.
    """
    wanted = name.casefold()
    for manifest in manifests:
        for flavor in manifest.flavors:
            is_flavor = flavor.name.casefold() == wanted
            for version in flavor.versions:
                if version.name.casefold() == wanted or (is_flavor and version.is_default):
                    return version
        if any(legacy.casefold() == wanted for legacy in manifest.legacy):
            raise ServiceError(
                failures.UNSUPPORTED,
                f'"{name}" is only offered as a Windows app package',
                hint="Get its root file system as a tar or .wsl file and use "
                "`isthmus --install --from-file FILE`.",
            )
    return None


def offered(manifests: Iterable[Manifest]) -> list[Version]:
    """What to show: the first versions of each flavor, a name of two lists once."""
    found: dict[str, Version] = {}
    for manifest in manifests:
        for flavor in manifest.flavors:
            for version in flavor.versions[:SHOWN_VERSIONS]:
                found.setdefault(version.name.casefold(), version)
    return list(found.values())
