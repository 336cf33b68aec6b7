"""docs/configuration.md says what the tables say."""

from __future__ import annotations

import pytest

from service.docs import TARGET, default_text, markdown
from service.settings_keys import WSLCONFIG
from wire.wslconf import Key, State, read_config
from wire.wslconf_keys import DISTRIBUTION_CONF, WSL_CONF


def test_the_page_is_not_stale() -> None:
    assert TARGET.read_text(encoding="utf-8") == markdown(), "run `python -m service.docs`"


FILES = {
    "`.wslconfig`": WSLCONFIG,
    "`/etc/wsl.conf`": WSL_CONF,
    "`/etc/wsl-distribution.conf`": DISTRIBUTION_CONF,
}


@pytest.mark.parametrize("file", FILES)
def test_every_key_has_a_row_that_tells_its_state(file: str) -> None:
    (page,) = [part for part in markdown().split("\n## ") if part.startswith(f"{file}\n")]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(FILES[file])
    for key in FILES[file]:
        name = key.name.partition(".")[2]
        (row,) = [row for row in rows if row.startswith(f"| `{name}` |") and key.about in row]
        assert ("*Not yet.*" in row) == (key.state == State.NOT_YET)
        assert ("*No effect.*" in row) == (key.state == State.NO_EFFECT)


def test_defaults_are_shown_as_they_would_be_written() -> None:
    for key in (*WSLCONFIG, *WSL_CONF, *DISTRIBUTION_CONF):
        if key.shown and key.default is not None and key.kind != "integer":
            continue
        if key.kind in ("boolean", "integer", "choice") and not _is_prose(key):
            section, _, name = key.name.partition(".")
            text = f"[{section}]\n{name}={default_text(key)}\n"
            config = read_config(text, [key], "file", stop_at_malformed=True)
            assert config.values == {key.name: key.default}


def _is_prose(key: Key) -> bool:
    return key.default is None or " " in key.shown or key.shown == "none"
