"""Messages: what is sent is what arrives, and nothing else is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.wire.strategies import MESSAGES, byte_text, instances, messages
from wire.agent import Spawn, Welcome
from wire.client import Distribution, Distributions
from wire.codec import Message, decode_message, encode_message, from_json_object
from wire.common import Done, Exited, Terminal
from wire.errors import MessageError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.NAME)
@settings(max_examples=8)
@given(data=st.data())
def test_every_message_survives_the_wire(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(instances(cls))
    assert decode_message(encode_message(message)) == message


@given(messages)
def test_the_wire_carries_ascii_and_leaves_defaults_out(message: Message) -> None:
    payload = encode_message(message)
    assert payload.isascii()
    body = json.loads(payload)
    assert body.pop("t") == message.NAME
    for name, value in message._defaults.items():
        assert (name in body) == (getattr(message, name) != value)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_only_message_errors(payload: bytes) -> None:
    with pytest.raises(MessageError):
        decode_message(payload)


@given(st.sampled_from(MESSAGES), st.dictionaries(st.text(max_size=8), json_values), st.data())
def test_arbitrary_fields_raise_only_message_errors(
    cls: type[Message], fields: dict[str, Any], data: st.DataObject
) -> None:
    for name in cls._fields:
        if data.draw(st.booleans()):
            fields[name] = data.draw(json_values)
    try:
        message = decode_message(json.dumps({**fields, "t": cls.NAME}).encode())
    except MessageError:
        return
    assert type(message) is cls
    assert decode_message(encode_message(message)) == message


@given(json_values)
def test_arbitrary_json_raises_only_message_errors(value: Any) -> None:
    with pytest.raises(MessageError):
        decode_message(json.dumps(value).encode())


@given(st.binary(max_size=40))
def test_strings_carry_any_bytes(data: bytes) -> None:
    spawn = Spawn(session=1, distribution="", argv=(data.decode("utf-8", "surrogateescape"),))
    decoded = decode_message(encode_message(spawn))
    assert isinstance(decoded, Spawn)
    assert decoded.argv[0].encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize("text", ["\ud800", "\udc7f", "\udd00", "\udfff", "a\udbffb"])
@pytest.mark.parametrize("where", ["argv", "key", "value"])
def test_surrogates_that_stand_for_no_byte_are_refused(text: str, where: str) -> None:
    body: dict[str, Any] = {"t": "spawn", "session": 1, "distribution": ""}
    fields: dict[str, dict[str, Any]] = {
        "argv": {"argv": [text]},
        "key": {"environment": {text: ""}},
        "value": {"environment": {"A": text}},
    }
    body |= fields[where]
    with pytest.raises(MessageError):
        decode_message(json.dumps(body).encode())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"t":1}',
        b'{"t":null}',
        b'{"t":["done"]}',
        b'{"t":"nonsense"}',
        b'{"t":""}',
        b'{"t":"Done"}',
        b'{"t":"done"} x',
        b'{"t":"done","extra":1}',
        b'{"t":"exited","session":1}',
        b'{"t":"exited","session":1,"status":true}',
        b'{"t":"exited","session":1,"status":1.0}',
        b'{"t":"exited","session":1,"status":NaN}',
        b'{"t":"exited","session":1,"status":"0"}',
        b'{"t":"exited","session":1,"status":null}',
        b'{"t":"exited","session":9223372036854775808,"status":0}',
        b'{"t":"exited","session":1,"status":' + b"9" * 5000 + b"}",
        b'{"t":"exited","session":1,"status":0,"core_dumped":1}',
        b'{"t":"spawn","session":1,"distribution":"","argv":"ls"}',
        b'{"t":"spawn","session":1,"distribution":"","argv":[1]}',
        b'{"t":"spawn","session":1,"distribution":"","argv":[null]}',
        b'{"t":"spawn","session":1,"distribution":"","environment":[]}',
        b'{"t":"spawn","session":1,"distribution":"","environment":{"A":1}}',
        b'{"t":"spawn","session":1,"distribution":"","terminal":{}}',
        b'{"t":"spawn","session":1,"distribution":"","terminal":[]}',
        b'{"t":"spawn","session":1,"distribution":"","terminal":{"rows":1,"columns":2,"x":0}}',
        b"[" * 100_000,
        b'{"t":' * 100_000,
        '{"t":"done"}'.encode("utf-16"),
        '{"t":"done"}'.encode("utf-32-le"),
        b'\xef\xbb\xbf{"t":"done"}',
        b'{"t":"done","\xff":1}',
    ],
)
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageError):
        decode_message(payload)


def test_parts_are_no_messages_but_travel_in_them() -> None:
    row = Distribution(name="a", identity="b", state="Stopped")
    message = Distributions(distributions=(row, row))
    assert decode_message(encode_message(message)) == message
    with pytest.raises(MessageError):
        decode_message(b'{"t":"distribution"}')


def test_null_is_accepted_only_where_it_is_declared() -> None:
    spawn = b'{"t":"spawn","session":1,"distribution":"","line":null,"terminal":null}'
    assert decode_message(spawn) == Spawn(session=1, distribution="")


def test_a_refusal_shows_a_peers_text_only_in_part() -> None:
    for body in ({"t": "x" * 10_000}, {"t": "done", "x" * 10_000: 1}):
        with pytest.raises(MessageError) as caught:
            decode_message(json.dumps(body).encode())
        assert len(str(caught.value)) < 200


def test_messages_are_immutable() -> None:
    message = Exited(session=1, status=0)
    with pytest.raises(AttributeError):
        message.status = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        message.other = 1
    with pytest.raises(AttributeError):
        del message.status
    assert message == Exited(session=1, status=0)


def test_a_constructor_wants_exactly_the_fields() -> None:
    with pytest.raises(TypeError):
        Exited(session=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Exited(session=1, status=0, extra=1)  # type: ignore[call-arg]


@given(messages, messages)
def test_equal_messages_have_equal_hashes(one: Message, other: Message) -> None:
    assert one == decode_message(encode_message(one))
    assert hash(one) == hash(decode_message(encode_message(one)))
    assert (one == other) <= (hash(one) == hash(other))


def test_the_order_of_a_dictionary_does_not_matter() -> None:
    one = Spawn(session=1, distribution="", environment={"A": "1", "B": "2"})
    other = Spawn(session=1, distribution="", environment={"B": "2", "A": "1"})
    assert one == other
    assert hash(one) == hash(other)


def test_messages_of_different_classes_differ() -> None:
    assert Done() != Terminal(rows=1, columns=1)
    assert Done() != "done"


def test_a_message_shows_its_fields() -> None:
    assert repr(Exited(session=1, status=2)) == (
        "Exited(session=1, status=2, signal=0, core_dumped=False)"
    )


@given(json_values, byte_text)
def test_a_part_is_built_from_a_json_object_only(value: Any, text: str) -> None:
    try:
        terminal = from_json_object(Terminal, value)
    except MessageError:
        return
    assert {"rows": terminal.rows, "columns": terminal.columns} == value


def test_a_name_is_declared_once() -> None:
    with pytest.raises(AssertionError):
        type("Again", (Message,), {"__annotations__": {}}, name=Welcome.NAME)
