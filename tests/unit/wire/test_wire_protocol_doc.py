"""docs/protocol.md says what the code does, as far as a program can tell."""

from __future__ import annotations

import re

import pytest

from tests.unit.wire.protocol_tables import DOCUMENT, MODULES, declared, role, with_tables
from tests.unit.wire.strategies import MESSAGES
from wire import flow, frame, preamble
from wire.codec import Message
from wire.common import PROTOCOL_VERSION

TEXT = DOCUMENT.read_text("utf-8")


def test_the_tables_are_those_of_the_code() -> None:
    assert with_tables(TEXT) == TEXT, "write them: python -m tests.unit.wire.protocol_tables"


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.NAME)
def test_every_message_is_documented(cls: type[Message]) -> None:
    assert TEXT.count(f"| `{cls.NAME}` | {role(cls)} |") == 1


def test_a_message_that_is_no_request_says_what_it_is() -> None:
    for module in MODULES.values():
        for cls in declared(module):
            said = (cls.__doc__ or "").split()[0]
            if role(cls) == "event":
                assert said.startswith("Event"), cls
            elif role(cls) == "reply":
                assert said == "Reply", cls


@pytest.mark.parametrize("name", [name for name in vars(frame.FrameKind) if name.isupper()])
def test_every_kind_of_frame_is_documented(name: str) -> None:
    number = getattr(frame.FrameKind, name)
    assert re.search(rf"^\| {number} \| {name} \|", TEXT, re.MULTILINE)


@pytest.mark.parametrize(
    "value",
    [
        f"{frame.HEADER_BYTES}-byte",
        f"{frame.MAX_DATA_BYTES // 1024} KiB",
        f"{frame.MAX_MESSAGE_BYTES // 2**20} MiB",
        f"{flow.WINDOW_BYTES // 2**20} MiB",
        f"{preamble.NONCE_BYTES} bytes",
        f"protocol version is **{PROTOCOL_VERSION}**",
        *(
            marker.decode("latin-1").encode("unicode_escape").decode().replace("\\x00", "\\0")
            for marker in (preamble.MAGIC, preamble.ECHO)
        ),
    ],
)
def test_numbers_are_those_of_the_code(value: str) -> None:
    assert value in TEXT


def test_sections_that_docstrings_name_exist() -> None:
    root = DOCUMENT.parents[1]
    for package in ("wire", "guest", "service", "shell"):
        for path in (root / package).rglob("*.py"):
            for section in re.findall(r"docs/protocol\.md §(\d+)", path.read_text("utf-8")):
                assert f"\n## {section}. " in TEXT, f"{path} refers to §{section}"
