"""Fixtures of the service's tests: a web server for lists and the files they name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.image.fake_archive import Mirror, handler


@pytest.fixture
def web() -> Iterator[Mirror]:
    """A loopback web server."""
    found = Mirror("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    found.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    path = tmp_path / "cache"
    monkeypatch.setenv("ISTHMUS_CACHE", str(path))
    return path
