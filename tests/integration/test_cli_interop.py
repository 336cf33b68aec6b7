"""What a distribution has of Windows: programs that translate paths and know of the machine."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.cli_harness import TINY, Isthmus
from wire.version import VERSION

pytestmark = pytest.mark.vm


def test_wslpath_and_wslinfo_are_in_the_path_of_a_distribution_of_busybox(cli: Isthmus) -> None:
    server = f"\\\\wsl.localhost\\{TINY}"
    assert cli.text("-e", "wslpath", "-w", "/etc/passwd") == f"{server}\\etc\\passwd"
    assert cli.text("-e", "wslpath", "-u", f"{server}\\etc") == "/etc"
    # The distribution's name is a fact of the machine, not of the environment.
    assert cli.text("-e", "env", "-i", "/bin/wslpath", "-m", "/") == f"//wsl.localhost/{TINY}/"
    assert cli.text("-e", "wslinfo", "--version") == VERSION
    assert cli.text("-e", "wslinfo", "--networking-mode") == "nat"
    uuid.UUID(cli.text("-e", "wslinfo", "--vm-id"))


def test_the_helper_socket_is_every_users_and_cannot_be_replaced(cli: Isthmus) -> None:
    script = "stat -c '%F %a' /run/WSL/1_interop; rm /run/WSL/1_interop 2>/dev/null || echo kept"
    assert cli.text(script).splitlines() == ["socket 666", "kept"]
