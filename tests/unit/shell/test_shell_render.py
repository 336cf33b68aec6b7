"""What the user reads, column by column; and what can never reach a terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shell import render
from shell.errors import NothingListedError, ShellError, UsageError
from shell.grammar import parse_posix
from shell.invocations import ListCommand, RunCommand
from wire import failures
from wire.client import Distribution, ForwardedPort, MountedDrive, StatusReport, Updated
from wire.common import Failure


def distribution(name: str, state: str = "Stopped", *, default: bool = False) -> Distribution:
    return Distribution(name=name, identity="{x}", state=state, is_default=default)


ROWS = (
    distribution("Alpine"),
    distribution("Debian-12-stable", "Running", default=True),
    distribution("New", "Installing"),
)


def test_plain_list() -> None:
    assert render.listing(ListCommand(), ROWS) == (
        "Isthmus Distributions:\nDebian-12-stable (Default)\nAlpine\n"
    )
    assert render.listing(ListCommand(all=True), ROWS).splitlines()[1:] == [
        "Debian-12-stable (Default)",
        "Alpine",
        "New",
    ]


def test_quiet_list() -> None:
    assert render.listing(ListCommand(quiet=True), ROWS) == "Debian-12-stable\nAlpine\n"
    assert render.listing(ListCommand(quiet=True), ()) == ""
    assert render.listing(ListCommand(quiet=True, running=True), ROWS[:1]) == ""


def test_verbose_list() -> None:
    assert render.listing(ListCommand(verbose=True), ROWS) == (
        "  NAME                STATE           VERSION\n"
        "* Debian-12-stable    Running         2\n"
        "  Alpine              Stopped         2\n"
        "  New                 Installing      2\n"
    )


def test_verbose_list_of_short_names() -> None:
    assert render.listing(ListCommand(verbose=True), [distribution("a")]) == (
        "  NAME    STATE           VERSION\n  a       Stopped         2\n"
    )


def test_running_list() -> None:
    assert render.listing(ListCommand(running=True), ROWS) == (
        "Isthmus Distributions:\nDebian-12-stable (Default)\n"
    )
    assert len(render.listing(ListCommand(running=True, verbose=True), ROWS).splitlines()) == 2


@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_to_list(verbose: bool) -> None:
    with pytest.raises(NothingListedError) as caught:
        render.listing(ListCommand(verbose=verbose), ())
    assert caught.value.code == failures.NO_DEFAULT_DISTRO
    assert "--install" in caught.value.hint
    assert "Error code" not in render.error(caught.value)
    with pytest.raises(NothingListedError, match=r"^There are no running distributions\.$"):
        render.listing(ListCommand(verbose=verbose, running=True), ROWS[:1])


def test_json_list() -> None:
    rows = json.loads(render.listing(ListCommand(json=True), ROWS))
    assert rows[0] == {
        "name": "Debian-12-stable",
        "id": "{x}",
        "state": "Running",
        "version": 2,
        "default": True,
        "flavor": "",
        "os_version": "",
        "disk_bytes": 0,
    }
    assert [row["name"] for row in rows] == ["Debian-12-stable", "Alpine"]
    assert json.loads(render.listing(ListCommand(json=True, running=True), ())) == []


CATALOGUE = (("Debian", "Debian GNU/Linux"), ("Ubuntu-24.04", "Ubuntu 24.04 LTS"))


def test_online_list() -> None:
    lines = render.online(ListCommand(online=True), CATALOGUE).splitlines()
    assert "--install" in lines[0]
    assert lines[-3:] == [
        "NAME            FRIENDLY NAME",
        "Debian          Debian GNU/Linux",
        "Ubuntu-24.04    Ubuntu 24.04 LTS",
    ]
    assert render.online(ListCommand(online=True, quiet=True), CATALOGUE) == (
        "Debian\nUbuntu-24.04\n"
    )
    assert json.loads(render.online(ListCommand(online=True, json=True), CATALOGUE))[0] == {
        "name": "Debian",
        "friendly_name": "Debian GNU/Linux",
    }


REPORT = StatusReport(
    version="1.2",
    default_distribution="Debian",
    machine_state="running",
    qemu="7.2.0",
    accelerator="tcg",
    accelerator_note="kvm does not run guests here",
    machine="microvm",
    kernel="6.12.1",
    memory_mib=1024,
    processors=2,
    service_pid=10,
    qemu_pid=11,
    directory="/home/me/.local/share/isthmus",
    warnings=("low on disk",),
    drives=(
        MountedDrive(
            source="C:\\", distribution="Debian", place="/mnt/c", directory="/c", state="watching"
        ),
    ),
)


def test_status() -> None:
    assert render.status(REPORT).splitlines() == [
        "Default Distribution: Debian",
        "Default Version: 2",
        "Virtual machine: running",
        "Accelerator: tcg (kvm does not run guests here)",
        "QEMU: 7.2.0, machine microvm",
        "Kernel: 6.12.1",
        "Memory: 1024 MiB",
        "Processors: 2",
        "Drive C:\\ at /mnt/c of Debian: watching",
        "Service process: 10",
        "QEMU process: 11",
        "State directory: /home/me/.local/share/isthmus",
        "Warning: low on disk",
    ]


def test_status_leaves_out_what_is_not_known() -> None:
    report = StatusReport(version="1.2", default_distribution="", machine_state="stopped")
    assert render.status(report).splitlines() == ["Default Version: 2", "Virtual machine: stopped"]


def test_status_as_json_has_every_key() -> None:
    report = StatusReport(version="1.2", default_distribution="", machine_state="stopped")
    assert json.loads(render.status_json(report)) == {
        "version": "1.2",
        "default_distribution": "",
        "machine_state": "stopped",
        "qemu": "",
        "accelerator": "",
        "accelerator_note": "",
        "machine": "",
        "kernel": "",
        "memory_mib": 0,
        "processors": 0,
        "service_pid": 0,
        "qemu_pid": 0,
        "directory": "",
        "warnings": [],
        "networking_mode": "",
        "addresses": [],
        "forwards": [],
        "drives": [],
    }


def test_status_shows_the_ports_at_localhost() -> None:
    report = StatusReport(
        version="1.2",
        default_distribution="",
        machine_state="running",
        forwards=(
            ForwardedPort(number=80, protocol="tcp", problem="reserved"),
            ForwardedPort(number=8080, protocol="tcp"),
            ForwardedPort(number=8080, protocol="udp"),
        ),
    )
    text = render.status(report)
    assert "Ports at localhost: 8080, 8080/udp\n" in text
    assert "Port 80 is not at localhost: reserved\n" in text
    assert json.loads(render.status_json(report))["forwards"][0] == {
        "number": 80,
        "protocol": "tcp",
        "problem": "reserved",
    }


def test_version() -> None:
    assert render.version("1.2") == "Isthmus version: 1.2\n"
    assert render.version("1.2", REPORT) == (
        "Isthmus version: 1.2\nKernel version: 6.12.1\nQEMU version: 7.2.0\n"
    )
    assert "Service version: 1.2\n" in render.version("1.3", REPORT)


def test_update() -> None:
    new = render.updated(Updated(kernel="6.12", previous="6.1", is_new=True))
    assert "Kernel 6.12 " in new
    assert "6.1 is kept" in new
    assert "kept" not in render.updated(Updated(kernel="6.12", previous="", is_new=True))
    same = render.updated(Updated(kernel="6.12", previous="6.1", is_new=False))
    assert same == "The newest kernel is in use already: 6.12\n"


def test_a_failure_has_message_hint_and_code() -> None:
    failure = Failure(
        code=failures.DISTRO_NOT_FOUND,
        message="There is no distribution with the supplied name.",
        hint="See `isthmus --list`.",
    )
    assert render.failure(failure, RunCommand(distribution="X")) == (
        "There is no distribution with the supplied name.\n"
        "See `isthmus --list`.\n"
        "Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\n"
    )


def test_a_usage_error_shows_how_to_use_it() -> None:
    with pytest.raises(UsageError) as caught:
        parse_posix(["--list", "-qv"])
    assert render.error(caught.value) == (
        "-q and -v are not valid together.\n"
        "Usage: isthmus --list [OPTION...]\n"
        "See `isthmus --list --help`.\n"
    )


def test_a_message_of_several_lines_keeps_them() -> None:
    assert render.error(ShellError("a\r\nb\n", "c", code="X")) == "a\nb\nc\nError code: Wsl/X\n"


def test_what_an_installation_says() -> None:
    assert "isthmus -d Debian" in render.installed("Debian")
    assert render.launching("Debian") == "Launching Debian...\n"
    assert render.warning("no\nmatch") == "isthmus: no\\x0amatch\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, \u00e9\u4e2d\U0001f600", "plain text, \u00e9\u4e2d\U0001f600"),
        ("\x1b[2Jx", "\\x1b[2Jx"),
        ("a\x07\x08\x7f", "a\\x07\\x08\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\u2028b\u200bc\ufeff", "a\\u2028b\\u200bc\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_hostile_text_is_made_harmless(text: str, shown: str) -> None:
    assert render.harmless(text) == shown


ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs", "Cc", "Cf"]))
STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def steers(text: str) -> bool:
    return any(unicodedata.category(character) in STEERING for character in text)


@given(ANY_TEXT)
def test_no_text_steers_the_terminal(text: str) -> None:
    assert not steers(render.harmless(text))
    kept = render.harmless(text, lines=True)
    assert not steers(kept.replace("\n", "").replace("\t", ""))
    kept.encode()


@given(ANY_TEXT)
def test_nothing_rendered_steers_the_terminal(text: str) -> None:
    row = Distribution(name=text, identity=text, state=text, is_default=True)
    failure = Failure(code=text, message=text, hint=text)
    report = StatusReport(
        version=text, default_distribution=text, machine_state=text, warnings=(text,)
    )
    rendered = [
        render.listing(ListCommand(all=True), [row]),
        render.listing(ListCommand(all=True, quiet=True), [row]),
        render.listing(ListCommand(verbose=True), [row]),
        render.listing(ListCommand(all=True, json=True), [row]),
        render.online(ListCommand(), [(text, text)]),
        render.online(ListCommand(json=True), [(text, text)]),
        render.status(report),
        render.status_json(report),
        render.version(text, report),
        render.failure(failure, RunCommand()),
        render.error(UsageError(text, text, code=text, context=text)),
        render.installed(text),
        render.launching(text),
        render.warning(text),
        render.updated(Updated(kernel=text, previous=text, is_new=True)),
    ]
    for output in rendered:
        assert output.endswith("\n")
        assert not steers(output.replace("\n", "").replace("\t", ""))


@given(ANY_TEXT)
def test_a_name_is_one_row(text: str) -> None:
    row = distribution(text)
    assert len(render.listing(ListCommand(all=True, quiet=True), [row]).splitlines()) == 1
    assert len(render.listing(ListCommand(verbose=True), [row]).splitlines()) == 2
