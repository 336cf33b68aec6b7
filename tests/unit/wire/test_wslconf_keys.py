"""The tables of configuration keys are sound."""

from __future__ import annotations

import pytest

from service.settings_keys import WSLCONFIG
from wire.wslconf import READERS, Key, State, read_config
from wire.wslconf_keys import DISTRIBUTION_CONF, WSL_CONF

TABLES = {"wslconfig": WSLCONFIG, "wsl.conf": WSL_CONF, "distribution": DISTRIBUTION_CONF}
ALL = [pytest.param(key, id=key.name) for table in TABLES.values() for key in table]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_no_spelling_stands_twice(table: tuple[Key, ...]) -> None:
    spellings = [name.lower() for key in table for name in (key.name, *key.aliases)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("key", ALL)
def test_every_row_makes_sense(key: Key) -> None:
    section, _, name = key.name.partition(".")
    assert section.isalnum() and name.isalnum()
    assert key.kind in READERS
    assert key.state in (State.HONOURED, State.NOT_YET, State.NO_EFFECT)
    assert key.about.endswith(".") and len(key.about) < 100
    assert (key.kind == "choice") == bool(key.choices)
    assert key.default is not None or key.shown
    types = {"boolean": bool, "integer": int, "memory": int, "ports": tuple}
    for value in (key.default, key.always):
        assert value is None or type(value) is types.get(key.kind, str)
    if key.choices:
        assert key.default in key.choices
    # What is honoured needs no promise of what happens anyway.
    assert not (key.state == State.HONOURED and key.always is not None)


@pytest.mark.parametrize(
    ("table", "text", "values"),
    [
        (
            WSLCONFIG,
            "[wsl2]\nmemory=4GB\nprocessors=2\nkernel=C:\\\\k\n[general]\ninstanceIdleTimeout=-1",
            {"wsl2.memory": 2**32, "wsl2.processors": 2, "wsl2.kernel": "C:\\k"}
            | {"general.instanceIdleTimeout": -1},
        ),
        (
            WSL_CONF,
            "[user]\ndefault=me\n[boot]\ncommand=service x start\n[network]\ngenerateHosts=0",
            {"user.default": "me", "boot.command": "service x start"}
            | {"network.generateHosts": False},
        ),
        (
            DISTRIBUTION_CONF,
            "[oobe]\ncommand = /etc/oobe.sh\ndefaultUid = 1000\ndefaultName = Arch",
            {"oobe.command": "/etc/oobe.sh", "oobe.defaultUid": 1000, "oobe.defaultName": "Arch"},
        ),
    ],
    ids=TABLES,
)
def test_a_typical_file(table: tuple[Key, ...], text: str, values: dict[str, object]) -> None:
    assert read_config(text, table, "file", stop_at_malformed=True).values == values
