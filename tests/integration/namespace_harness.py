"""A network namespace of the test's own, in which an Isthmus runs as it would on a host.

With a user namespace around it, so that whoever runs the tests is root in there.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.integration.cli_harness import Isthmus, require

TIMEOUT_S = 60


class Namespace:
    """Lives as long as the process `holder`."""

    def __init__(self, holder: int) -> None:
        enter = ("nsenter", "--target", str(holder), "--user", "--net", "--mount")
        self.prefix = (*enter, "--preserve-credentials")

    def run(self, *argv: str, timeout: float = TIMEOUT_S) -> str:
        """Run a program in there that must succeed; returns its output."""
        done = subprocess.run(
            [*self.prefix, *argv], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, (argv, done)
        return done.stdout

    def python(self, script: str, *arguments: str) -> str:
        """As `run`, a script."""
        return self.run(sys.executable, "-c", script, *arguments)

    @contextlib.contextmanager
    def running(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """A program in there, ended with the context."""
        process = subprocess.Popen(
            [*self.prefix, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=TIMEOUT_S)

    def isthmus(self, isthmus: Isthmus) -> None:
        """Have all commands of `isthmus` run in there."""
        isthmus.prefix = self.prefix


@contextlib.contextmanager
def network_namespace() -> Iterator[Namespace]:
    """A namespace with nothing but `lo`."""
    script = "mount --make-rprivate / && echo ready && exec cat"
    argv = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        require(holder.stdout.readline() == "ready\n", "this host gives no network namespaces")
        namespace = Namespace(holder.pid)
        namespace.run("busybox", "ip", "link", "set", "lo", "up")
        try:
            yield namespace
        finally:
            holder.stdin.close()  # the last process but those that a failed test has left
            holder.wait(TIMEOUT_S)
