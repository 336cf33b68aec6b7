"""A Debian archive for a loopback HTTP server, signed with a key made for the test."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

from vm.image.archive import Suite

if TYPE_CHECKING:
    import pysequoia

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass
class Mirror:
    """A web server whose files and misbehaviour a test chooses."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """By path: how many bytes each of the next answers gives before the connection is dropped."""
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """By path: the status of each of the next answers."""
    without_ranges: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range header or "") of each request."""


def handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    """A request handler that serves `mirror`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            asked = self.headers.get("Range", "")
            mirror.requests.append((path, asked))
            if mirror.statuses.get(path):
                self.send_error(mirror.statuses[path].pop(0))
                return
            if path not in mirror.files:
                self.send_error(404)
                return
            body, status = mirror.files[path], 200
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            if match and not mirror.without_ranges:
                start = int(match[1])
                if start >= len(body):
                    self.send_error(416)
                    return
                body, status = body[start:], 206
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cuts = mirror.cut_after.get(path)
            self.wfile.write(body[: cuts.pop(0)] if cuts else body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    return Handler


@dataclass(frozen=True)
class SigningKey:
    secret: pysequoia.Tsk
    keyring: Path

    def clear_sign(self, text: str) -> bytes:
        import pysequoia  # not where only downloads are tested: Wine cannot load it

        mode = pysequoia.SignatureMode.CLEAR
        return bytes(pysequoia.sign(self.secret.signer(), text.encode(), mode=mode))


Member = tarfile.TarInfo | tuple[str, bytes]
"""Of a tar: a file (name, contents), or whatever else tarfile can describe."""


def ar_archive(members: list[tuple[str, bytes]]) -> bytes:
    """An ar archive as dpkg-deb makes it."""
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
        parts.append(data + b"\n" * (len(data) & 1))
    return b"".join(parts)


def tar_archive(members: list[Member]) -> bytes:
    """A tar of regular files (name, contents) and of whatever other members are given."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size, info.mode = len(member[1]), 0o755
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def deb_package(members: list[Member]) -> bytes:
    data = lzma.compress(tar_archive(members))
    return ar_archive([("debian-binary", b"2.0\n"), ("control.tar.xz", b""), ("data.tar.xz", data)])


@dataclass
class FakeArchive:
    """Publishes packages on the mirror the way Debian does."""

    mirror: Mirror
    key: SigningKey
    codename: str = "trixie"
    date: datetime = NOW - timedelta(days=1)
    valid_until: datetime | None = None
    paragraphs: list[str] = field(default_factory=list)
    packages_path: str = "main/binary-amd64/Packages.xz"

    @property
    def suite(self) -> Suite:
        return Suite(self.mirror.address, self.codename, self.codename)

    def add(self, name: str, data: bytes = b"", version: str = "1", **fields: str) -> str:
        """Add a package; returns the path of its file."""
        path = f"pool/main/{name}_{version}_amd64.deb"
        self.mirror.files[path] = data
        lines = [f"Package: {name}", f"Version: {version}", "Architecture: amd64"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
        lines += [f"Filename: {path}", f"Size: {len(data)}"]
        lines += [f"SHA256: {hashlib.sha256(data).hexdigest()}"]
        self.paragraphs.append("\n".join(lines) + "\n")
        return path

    def publish(self) -> None:
        packed = lzma.compress("\n".join(self.paragraphs).encode())
        digest = hashlib.sha256(packed).hexdigest()
        base = f"dists/{self.codename}"
        self.mirror.files[f"{base}/main/binary-amd64/by-hash/SHA256/{digest}"] = packed
        release = f"Suite: stable\nCodename: {self.codename}\nDate: {format_datetime(self.date)}\n"
        if self.valid_until:
            release += f"Valid-Until: {format_datetime(self.valid_until)}\n"
        release += f"SHA256:\n {digest} {len(packed)} {self.packages_path}\n"
        self.mirror.files[f"{base}/InRelease"] = self.key.clear_sign(release)

    @property
    def index_path(self) -> str:
        """Where the published Packages.xz is on the mirror."""
        return next(path for path in self.mirror.files if "/by-hash/" in path)
