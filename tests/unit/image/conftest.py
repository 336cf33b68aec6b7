"""Fixtures of the image tests: a mirror, an archive on it, a key that signs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import ThreadingHTTPServer
from pathlib import Path

import pysequoia
import pytest

from tests.unit.image.fake_archive import NOW, FakeArchive, Mirror, SigningKey, handler


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    found = Mirror("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    found.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make_key(tmp_path: Path) -> Callable[[str], SigningKey]:
    def make(name: str) -> SigningKey:
        secret = pysequoia.Tsk.generate(user_id=f"{name} <{name}@example.org>")
        keyring = tmp_path / f"{name}.pgp"
        keyring.write_bytes(bytes(secret.extract_certificate()))
        return SigningKey(secret, keyring)

    return make


@pytest.fixture
def key(make_key: Callable[[str], SigningKey]) -> SigningKey:
    return make_key("archive")


@pytest.fixture
def archive(mirror: Mirror, key: SigningKey) -> FakeArchive:
    return FakeArchive(mirror, key)


@pytest.fixture
def now() -> datetime:
    return NOW
