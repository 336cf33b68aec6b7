"""The host's clock is set while the machine runs: nothing waits for it, and the guest follows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, Isthmus

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

DAY_S = 86400
NEAR_S = 120
"""What a busy machine may take from telling the time to reading it."""

SERVICE = """
import sys, time
from pathlib import Path
jump, real_time, real_time_ns = Path(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: real_time() + int(jump.read_text())
time.time_ns = lambda: real_time_ns() + int(jump.read_text()) * 10**9
sys.argv.pop(1)
from service.entry import main
sys.exit(main())
"""
"""The real service, on a host whose clock the test can set: this host's is not ours to set."""


def test_the_guests_clock_follows_the_hosts(fresh: Isthmus, tmp_path: Path) -> None:
    jump = tmp_path / "jump"
    jump.write_text("0")
    argv = [sys.executable, "-I", "-c", SERVICE, str(jump), "service", "--home", str(fresh.home)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=fresh.environment) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == b"ready\n"
        try:
            now = ("--system", "-e", "date", "+%s")
            fresh.ok(*now, timeout=BOOT_TIMEOUT_S)
            for jump_s in (400 * DAY_S, -30 * DAY_S, 3600, 0):
                with fresh.started("--system", "-e", "cat", stdin=subprocess.PIPE) as other:
                    jump.write_text(str(jump_s))
                    told = int(fresh.text(*now))
                    assert abs(told - (time.time() + jump_s)) < NEAR_S
                    # What was under way goes on.
                    other.stdin.write(b"still here")
                    other.stdin.close()
                    assert other.stdout.read() == b"still here"
                    assert other.status() == 0
        finally:
            service.terminate()
            service.wait(60)
