"""PATH in a Wine prefix's registry files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from interop.hostos.wineregistry import DEFAULT_PATH, read_search_path

assert sys.platform != "win32"

SYSTEM = r"""WINE REGISTRY Version 2
[Other] 1
"PATH"="C:\\wrong"

[System\\CurrentControlSet\\Control\\Session Manager\\Environment] 1795609858
#time=1dd7cd8d2f075d8
"OS"="Windows_NT"
"PATH"=str(2):"%SystemRoot%\\system32;%systemroot%;D:\\a \"b\""
"PATHEXT"=".com"

[Next] 1
"PATH"="C:\\wrong"
"""
USER = r"""[Environment] 1795609858
"Path"="C:\\users\\me\\bin"
"""


def test_the_machines_and_then_the_users(tmp_path: Path) -> None:
    (tmp_path / "system.reg").write_text(SYSTEM)
    machine = 'C:\\windows\\system32;C:\\windows;D:\\a "b"'
    assert read_search_path(str(tmp_path)) == machine
    (tmp_path / "user.reg").write_text(USER)
    assert read_search_path(str(tmp_path)) == machine + ";C:\\users\\me\\bin"


def test_a_change_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "user.reg"
    file.write_text(USER)
    assert read_search_path(str(tmp_path)) == "C:\\users\\me\\bin"
    file.write_text(USER.replace("bin", "other"))
    os.utime(file, ns=(1, 1))
    assert read_search_path(str(tmp_path)) == "C:\\users\\me\\other"


def test_a_new_prefix_has_what_wine_gives_it(tmp_path: Path) -> None:
    assert read_search_path(str(tmp_path)) == DEFAULT_PATH
