"""Servers that people run, and their clients on the host."""

from __future__ import annotations

import urllib.request

import pytest

from tests.integration.cli_harness import Isthmus, wait_until
from tests.integration.test_cli_ports import boot_id, forwards, free_port

pytestmark = pytest.mark.vm


def test_pythons_http_server(cli: Isthmus) -> None:
    port = free_port()
    script = f"""
        mkdir -p /run/www; cat /proc/sys/kernel/random/boot_id > /run/www/boot_id
        exec python3 -m http.server {port} --bind 127.0.0.1 --directory /run/www
    """
    with cli.started("--system", "-e", "sh", "-c", script):
        wait_until(lambda: forwards(cli).get(port) == "", "the forward")
        url = f"http://localhost:{port}/boot_id"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.headers["Server"].startswith("SimpleHTTP")
            assert answer.read() == boot_id(cli)
