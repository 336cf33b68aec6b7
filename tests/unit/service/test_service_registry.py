"""The registry: written as a whole or not at all, and never thrown away."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from service import registry as module
from service.errors import ServiceError
from service.registry import Record, Registry, check_name
from wire import failures


def record(name: str, **values: Any) -> Record:
    return Record(identity=uuid.uuid4().hex, name=name, disk=f"/disks/{name}", **values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "distributions.json"


@pytest.fixture
def registry(path: Path) -> Registry:
    return Registry(path)


def test_no_file_is_no_distribution(registry: Registry, path: Path) -> None:
    assert registry.all() == ()
    assert registry.default is None
    assert not path.exists()
    with pytest.raises(ServiceError) as caught:
        registry.find("")
    assert caught.value.code == failures.NO_DEFAULT_DISTRO


def test_what_is_written_is_read(registry: Registry, path: Path) -> None:
    records = [record("Debian", default_uid=1000, flavor="debian", os_version="13"), record("b")]
    for one in records:
        registry.add(one)
    registry.set_default(records[1].identity)
    again = Registry(path)
    assert list(again.all()) == records
    assert again.default == records[1]
    assert path.stat().st_mode & 0o077 == 0


def test_distributions_are_found_by_name_guid_and_default(registry: Registry) -> None:
    first, second = record("Debian"), record("other")
    registry.add(first)
    registry.add(second)
    guid = str(uuid.UUID(second.identity))
    for wanted in (
        "other",
        "OTHER",
        f"{{{guid}}}",
        f"{{{guid.upper()}}}",
        f"{{{second.identity}}}",
    ):
        assert registry.find(wanted) == second
    assert registry.find("") == first
    for unknown in ("nothing", "{}", "{" + "0" * 32 + "}", second.identity, "{other}"):
        with pytest.raises(ServiceError) as caught:
            registry.find(unknown)
        assert caught.value.code == failures.DISTRO_NOT_FOUND


@pytest.mark.parametrize("name", ["Debian", "debian", "DEBIAN"])
def test_a_name_is_taken_once_whatever_its_case(registry: Registry, name: str) -> None:
    registry.add(record("Debian"))
    with pytest.raises(ServiceError) as caught:
        registry.add(record(name))
    assert caught.value.code == failures.DISTRO_EXISTS
    assert len(registry.all()) == 1


@pytest.mark.parametrize("name", ["a", "A-b_c.1", "x" * 256, ".hidden", "...a"])
def test_names_that_are_allowed(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "x" * 257, ".", "..", "legacy", "Legacy", "é", "a/b", "a\n", "{x}"]
)
def test_names_that_are_refused(registry: Registry, name: str) -> None:
    for refuse in (check_name, registry.check_free):
        with pytest.raises(ServiceError) as caught:
            refuse(name)
        assert caught.value.code == failures.INVALID_NAME


def test_the_default_moves_on_when_it_is_removed(registry: Registry) -> None:
    first, second, third = record("a"), record("b"), record("c")
    for one in (first, second, third):
        registry.add(one)
    assert registry.default == first
    registry.remove(first.identity)
    assert registry.default == second
    registry.remove(third.identity)
    assert registry.default == second
    registry.remove(second.identity)
    assert registry.default is None
    registry.add(third)
    assert registry.default == third


def test_a_write_that_fails_changes_nothing(
    registry: Registry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record("a")
    registry.add(first)
    before = path.read_bytes()

    def fail(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    changes = (
        lambda: registry.add(record("b")),
        lambda: registry.remove(first.identity),
        lambda: registry.change(first.identity, default_uid=7),
        lambda: registry.set_default("0" * 32),
    )
    for change in changes:
        with pytest.raises(ServiceError) as caught:
            change()
        assert caught.value.code == failures.DISK_FULL
        assert "No space" in caught.value.message
    assert (registry.all(), registry.default) == ((first,), first)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name], "no temporary file is left"


GOOD: dict[str, Any] = {
    "version": 1,
    "default": "a" * 32,
    "distributions": [asdict(Record(identity="a" * 32, name="a", disk="/d"))],
}


def changed(**values: Any) -> dict[str, Any]:
    """A registry whose one entry has other values."""
    return {**GOOD, "distributions": [{**GOOD["distributions"][0], **values}]}


DAMAGED = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"7",
    b'"version"',
    b"{}",
    b"[" * 100_000,
    *(
        json.dumps(body).encode()
        for body in (
            {**GOOD, "version": 2},
            {**GOOD, "distributions": None},
            {**GOOD, "distributions": {"a": 1}},
            {**GOOD, "distributions": [1]},
            {**GOOD, "distributions": GOOD["distributions"] * 2},
            {
                **GOOD,
                "distributions": [
                    *GOOD["distributions"],
                    {**GOOD["distributions"][0], "identity": "b" * 32, "name": "A"},
                ],
            },
            {key: value for key, value in GOOD.items() if key != "default"},
            changed(identity="../x"),
            changed(identity=7),
            changed(name="a b"),
            changed(name=None),
            changed(disk=None),
            changed(default_uid="0"),
            changed(default_uid=True),
            changed(flavor=1),
            changed(unknown=1),
        )
    ),
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:40]))
def test_a_damaged_file_is_kept_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ServiceError) as caught:
        Registry(path)
    assert caught.value.code == failures.REGISTRY
    (kept,) = path.parent.iterdir()
    assert kept != path
    assert kept.read_bytes() == content
    assert str(kept) in caught.value.message
    assert Registry(path).all() == (), "the next start begins anew"


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "default", "distributions", "name", "identity", "x"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=10,
    )
)
def test_any_json_is_read_or_kept_aside(body: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "distributions.json"
        path.write_text(json.dumps(body))
        try:
            Registry(path)
        except ServiceError as error:
            assert error.code == failures.REGISTRY


def test_a_file_that_cannot_be_read_now_stays_where_it_is(path: Path) -> None:
    path.mkdir(parents=True)  # reading it fails with EISDIR, whoever we are
    with pytest.raises(ServiceError) as caught:
        Registry(path)
    assert caught.value.code == failures.REGISTRY
    assert caught.value.hint
    assert path.is_dir()


def test_the_file_is_the_one_it_always_was(registry: Registry, path: Path) -> None:
    """What older versions have written is read by this one: the format, spelled out."""
    path.parent.mkdir()
    path.write_text(json.dumps(GOOD))
    assert Registry(path).default == Record(identity="a" * 32, name="a", disk="/d")
    assert module.FORMAT_VERSION == 1


class RegistryMachine(RuleBasedStateMachine):
    """Any sequence of changes leaves the file, the object and a plain list the same."""

    identities = Bundle("identities")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "distributions.json"
        self.registry = Registry(self.path)
        self.expected: list[Record] = []
        self.default = ""

    def teardown(self) -> None:
        self.directory.cleanup()

    @rule(target=identities, name=st.sampled_from(["a", "A", "b", "c", "bad name"]))
    def add(self, name: str) -> str:
        new = record(name)
        taken = {one.name.casefold() for one in self.expected}
        try:
            self.registry.add(new)
        except ServiceError as error:
            assert error.code == (failures.INVALID_NAME if " " in name else failures.DISTRO_EXISTS)
            assert " " in name or name.casefold() in taken
            return ""
        assert name.casefold() not in taken
        self.expected.append(new)
        self.default = self.default or new.identity
        return new.identity

    @rule(identity=consumes(identities).filter(bool))
    def remove(self, identity: str) -> None:
        self.registry.remove(identity)
        self.expected = [one for one in self.expected if one.identity != identity]
        if self.default == identity:
            self.default = self.expected[0].identity if self.expected else ""

    @rule(identity=identities.filter(bool), uid=st.integers(0, 5000))
    def change(self, identity: str, uid: int) -> None:
        new = self.registry.change(identity, default_uid=uid)
        self.expected = [new if one.identity == identity else one for one in self.expected]

    @rule(identity=identities.filter(bool))
    def set_default(self, identity: str) -> None:
        self.registry.set_default(identity)
        self.default = identity

    @invariant()
    def all_agree(self) -> None:
        for registry in (self.registry, Registry(self.path)):
            assert list(registry.all()) == self.expected
            default = registry.default
            assert ("" if default is None else default.identity) == self.default


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=8, stateful_step_count=10, deadline=None)
