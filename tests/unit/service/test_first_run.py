"""A distribution's first run in the registry and in what a new one is registered as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.errors import ServiceError
from service.management import judge
from service.registry import FORMAT_VERSION, Record, Registry
from wire import failures
from wire.agent import RootDescription

IDENTITY = "0123456789abcdef" * 2
ROOT = RootDescription(is_root=True, os_id="arch", default_name="archlinux", default_uid=1000)
DISK = Path("/disks/ext4.qcow2")


def write_registry(path: Path, **changes: object) -> None:
    item = {"identity": IDENTITY, "name": "Arch", "disk": str(DISK), "default_uid": 7, **changes}
    body = {"version": FORMAT_VERSION, "default": IDENTITY, "distributions": [item]}
    path.write_text(json.dumps(body))


def test_a_registry_from_before_there_were_first_runs_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "distributions.json"
    write_registry(path)
    record = Registry(path).find("Arch")
    assert (record.run_oobe, record.default_uid) == (False, 7)


def test_a_first_run_is_remembered_until_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "distributions.json"
    registry = Registry(path)
    registry.add(Record(identity=IDENTITY, name="Arch", disk=str(DISK), run_oobe=True))
    assert Registry(path).find("Arch").run_oobe
    registry.change(IDENTITY, run_oobe=False, default_uid=1000)
    record = Registry(path).find("Arch")
    assert (record.run_oobe, record.default_uid) == (False, 1000)


def test_a_flag_of_another_type_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "distributions.json"
    write_registry(path, run_oobe="yes")
    with pytest.raises(ServiceError) as caught:
        Registry(path)
    assert caught.value.code == failures.REGISTRY
    assert not path.exists()  # set aside, as anything that is not understood


@pytest.mark.parametrize("first_run", [True, False])
def test_until_its_setup_has_run_a_distribution_is_roots(first_run: bool) -> None:
    record = judge(ROOT, IDENTITY, "Arch", DISK, first_run=first_run)
    assert record.default_uid == 0
    assert record.run_oobe is first_run


def test_a_distribution_without_any_name_is_not_registered() -> None:
    with pytest.raises(ServiceError) as caught:
        judge(ROOT, IDENTITY, "", DISK)
    assert caught.value.code == failures.NAME_NEEDED
    assert "--name" in caught.value.hint
