"""Names and proxies are the host's: real name servers and a real proxy on the host.

The names are asked for by glibc's own resolver in a distribution. The host is a network namespace
with files of the test's own in place of resolv.conf and hosts.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.integration import name_server
from tests.integration.cli_harness import TINY, Isthmus, RootTar, wait_until
from tests.integration.namespace_harness import Namespace, network_namespace

pytestmark = pytest.mark.vm

needs_namespaces = pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux hosts")


@pytest.fixture
def resolver_tar(tmp_path: Path) -> Path:
    """The small distribution with getent(1) and the C library that it asks."""
    tar = RootTar(tmp_path / "resolver.tar").add_system()
    getent = shutil.which("getent")
    assert getent is not None
    listed = subprocess.run(["ldd", getent], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"/\S+", listed)
    assert libraries
    made: set[Path] = set()
    for path in map(Path, [getent, *libraries]):
        for parent in reversed(path.parents[:-1]):
            if parent not in made and str(parent) not in ("/bin", "/usr"):
                tar.directory(f".{parent}")
            made.add(parent)
        tar.add(f".{path}", path.read_bytes(), mode=0o755)
    tar.add("./etc/nsswitch.conf", b"hosts: files dns\n")
    return tar.close()


@contextlib.contextmanager
def serving(namespace: Namespace, place: str, address: str) -> Iterator[None]:
    """A name server at an address of the host, which knows one answer."""
    program = (sys.executable, name_server.__file__, place, address)
    with namespace.running(*program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield


def addresses(cli: Isthmus, name: str) -> set[str]:
    """What a program in Linux finds for a name; nothing if there is none."""
    done = cli.run("-d", TINY, "-e", "getent", "ahostsv4", name)
    assert done.returncode in (0, 2), done  # 2: not found (getent(1))
    return {line.split()[0] for line in done.stdout.decode().splitlines()}


def resolv_conf(cli: Isthmus) -> list[str]:
    lines = cli.text("-d", TINY, "-e", "cat", "/etc/resolv.conf").splitlines()
    return [line for line in lines if not line.startswith("#")]


@needs_namespaces
def test_names_follow_the_host(fresh: Isthmus, resolver_tar: Path, tmp_path: Path) -> None:
    """Another name server, and other domains, while Linux runs; long answers come by TCP."""
    host_file, hosts_file = tmp_path / "host-resolv.conf", tmp_path / "host-hosts"
    host_file.write_text("nameserver 127.0.0.1\nsearch first.test\n")
    hosts_file.write_text("127.0.0.1 localhost\n192.0.2.77 cellar.example cellar\n")
    with network_namespace() as namespace:
        namespace.run("mount", "--bind", str(host_file), "/etc/resolv.conf")
        namespace.run("mount", "--bind", str(hosts_file), "/etc/hosts")
        namespace.isthmus(fresh)
        with (
            serving(namespace, "127.0.0.1", "192.0.2.1"),
            serving(namespace, "127.0.0.2", "198.51.100.1"),
        ):
            fresh.make(TINY, resolver_tar)
            assert addresses(fresh, "name.test") == {"192.0.2.1"}
            assert len(addresses(fresh, "many.test")) == 101
            assert addresses(fresh, "name.nowhere.") == set()
            assert addresses(fresh, "cellar") == {"192.0.2.77"}
            assert addresses(fresh, "short") == {"192.0.2.1"}  # short.first.test
            assert resolv_conf(fresh) == ["nameserver 10.0.2.3", "search first.test"]
            host_file.write_text("nameserver 127.0.0.2\nsearch second.test\n")
            expected = ["nameserver 10.0.2.3", "search second.test"]
            wait_until(lambda: resolv_conf(fresh) == expected, "other domains")
            wait_until(lambda: addresses(fresh, "name.test") == {"198.51.100.1"}, "another server")
            assert len(addresses(fresh, "many.test")) == 101
            # What is at the host's loopback Linux reaches through QEMU's name server only.
            fresh.configure("[wsl2]\ndnsProxy=false\n")
            host_file.write_text("nameserver 192.0.2.53\nnameserver 127.0.0.2\n")
            expected = ["nameserver 192.0.2.53", "nameserver 10.0.2.3"]
            wait_until(lambda: resolv_conf(fresh) == expected, "the host's own name servers")
            fresh.end()


class _Proxy(BaseHTTPRequestHandler):
    """Answers what it is asked for, which no server of this world would."""

    def do_GET(self) -> None:
        text = f"by proxy: {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_hosts_proxy_is_linuxs(cli: Isthmus) -> None:
    """One at the host's localhost, which is elsewhere in Linux; a variable of WSLENV wins."""
    url = "http://site.invalid/page"
    with HTTPServer(("127.0.0.1", 0), _Proxy) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            proxy = f"http://127.0.0.1:{server.server_port}"
            names = {"http_proxy": proxy, "no_proxy": "localhost,.local"}
            wget = ("-d", TINY, "-e", "wget", "-q", "-O", "-", url)
            done = cli.run(*wget, env=names)
            assert done.stdout == f"by proxy: {url}".encode(), done
            shown = cli.run("-d", TINY, "echo $HTTP_PROXY $NO_PROXY", env=names).stdout.split()
            assert shown == [f"http://10.0.2.2:{server.server_port}".encode(), b"localhost,.local"]
            shared = {**names, "WSLENV": "http_proxy"}
            shown = cli.run("-d", TINY, "echo $http_proxy", env=shared).stdout.split()
            assert shown == [proxy.encode()]
        finally:
            server.shutdown()
            thread.join()
