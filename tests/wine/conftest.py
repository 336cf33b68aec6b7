"""One Windows for the whole run: its user has a name that no code page but UTF-8's can write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, TINY, WAKEFUL, make_tiny
from tests.wine.installation import Installation, build_wheels, fetch, require_wine
from tests.wine.windows import Windows

USER = "Žofia Ünal"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the wheels of a release, made from this checkout."""
    return build_wheels(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Installation]:
    """Windows with Isthmus installed, and nothing run yet."""
    require_wine()
    directory = tmp_path_factory.mktemp("wine")
    windows = Windows(directory / "prefix", USER)
    try:
        windows.start()
        installed = Installation(windows)
        installed.install(fetch(), wheels)
        windows.hold_desktop(installed.python)
        # Where Windows has it: in the profile of the user.
        (windows.home / ".wslconfig").write_text(WAKEFUL)
        yield installed
    finally:
        windows.stop()
        shutil.rmtree(windows.prefix)  # 700 MB, of which pytest would keep three


@pytest.fixture(scope="session")
def tiny_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar of a small distribution, as a file of the host."""
    return make_tiny(tmp_path_factory.mktemp("tar") / f"{TINY}.tar")


PLACE = f"C:\\users\\{USER}\\OneDrive - Contoso\\Linux\\{TINY}"
"""As a company's Windows redirects its users' documents."""


@pytest.fixture(scope="session")
def tiny(installation: Installation, tiny_tar: Path) -> Installation:
    """The distribution `tiny`, imported from a file of drive C, and running."""
    archive = installation.windows.drive_c / "tiny.tar"
    shutil.copyfile(tiny_tar, archive)
    done = installation.run("--import", TINY, PLACE, "C:\\tiny.tar", timeout=BOOT_TIMEOUT_S)
    assert done.status == 0, (done, installation.logs())
    assert "OneDrive copies it while it changes" in done.complaint
    return installation
