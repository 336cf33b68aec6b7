"""How messages become JSON and back, with every field checked (docs/protocol.md §3). Pure.

Message classes look like frozen keyword-only dataclasses to the type checker. They are not built
by `dataclasses`, whose import and code generation would cost each `lx` about 20 ms on the host
and the agent's start ten times that under emulation.

Strings carry arbitrary bytes (file names, arguments) by Python's `surrogateescape` convention:
byte 0xNN that is not UTF-8 is the lone surrogate U+DCNN, which JSON escapes.
"""

from __future__ import annotations

from collections.abc import Callable

from wire import jsontext
from wire.errors import MessageError

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Any, ClassVar, TypeVar, dataclass_transform

    M = TypeVar("M", bound="Message")
else:

    def dataclass_transform(**_options: bool) -> Callable[[type], type]:
        """Nothing at run time: `typing`'s own only informs type checkers."""
        return lambda cls: cls


_registry: dict[str, type[Message]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Message:
    """Base of everything that crosses a link. Subclasses declare fields as annotations.

    A subclass names itself on the wire with `class Spawn(Message, name="spawn")`; one without a
    name is only a part of other messages. Allowed field types are those of `_CHECKS`, other
    Message classes, and `| None` or `tuple[…, ...]` of either.
    """

    NAME: ClassVar[str] = ""
    REPLY: ClassVar[type[Message] | None] = None
    """What a request is answered with when it succeeds; None: this is no request."""
    _fields: ClassVar[dict[str, str]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, name: str = "") -> None:
        cls.NAME = name
        own = {
            field: kind
            for field, kind in cls.__dict__.get("__annotations__", {}).items()  # noqa: RUF063 - as text
            if not kind.startswith("ClassVar")
        }
        cls._fields = {**cls._fields, **own}
        defaults = {field: cls.__dict__[field] for field in own if field in cls.__dict__}
        cls._defaults = {**cls._defaults, **defaults}
        _parts[cls.__name__] = cls
        if name:
            assert name not in _registry, name
            _registry[name] = cls

    def __init__(self, **values: Any) -> None:
        if values.keys() - self._fields.keys():
            raise TypeError(f"{type(self).__name__} has no {values.keys() - self._fields.keys()}")
        for field in self._fields:
            if field in values:
                value = values[field]
            elif field in self._defaults:
                value = self._defaults[field]
            else:
                raise TypeError(f"{type(self).__name__} needs {field}")
            object.__setattr__(self, field, value)

    def __setattr__(self, field: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, field: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        # Dictionaries are left out: equal ones may be in different order, and none is hashable.
        fields = (value for value in self.__dict__.values() if not isinstance(value, dict))
        return hash((type(self), *fields))

    def __repr__(self) -> str:
        fields = ", ".join(f"{field}={getattr(self, field)!r}" for field in self._fields)
        return f"{type(self).__name__}({fields})"


_parts: dict[str, type[Message]] = {}


def to_json_object(message: Message) -> dict[str, Any]:
    """The message's fields as JSON values, without its name; defaults are left out."""
    result: dict[str, Any] = {}
    for field in message._fields:
        value = getattr(message, field)
        if field not in message._defaults or value != message._defaults[field]:
            result[field] = _to_json(value)
    return result


def _to_json(value: Any) -> Any:
    if isinstance(value, Message):
        return to_json_object(value)
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value


def encode_message(message: Message) -> bytes:
    """The payload of a MESSAGE frame: one JSON object, the message's name under "t"."""
    body = {"t": message.NAME, **to_json_object(message)}
    return jsontext.dumps(body).encode("ascii")


def decode_message(payload: bytes | memoryview) -> Message:
    """The message in a MESSAGE frame's payload. Raises MessageError, and nothing else."""
    try:
        body = jsontext.loads(str(payload, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise MessageError(f"payload is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise MessageError("payload is not a JSON object")
    name = body.pop("t", None)
    cls = _registry.get(name) if isinstance(name, str) else None
    if cls is None:
        raise MessageError(f"unknown message {name!r:.80}")
    return from_json_object(cls, body)


def from_json_object(cls: type[M], body: Any) -> M:
    """An instance of `cls` from its JSON fields; unknown fields and wrong types are refused."""
    if not isinstance(body, dict):
        raise MessageError(f"{cls.__name__} is not a JSON object")
    unknown = body.keys() - cls._fields.keys()
    if unknown:
        raise MessageError(f"{cls.__name__} has no field {sorted(unknown)[0]!r:.80}")
    values = {}
    for field, kind in cls._fields.items():
        if field in body:
            values[field] = _from_json(kind, body[field], f"{cls.__name__}.{field}")
        elif field not in cls._defaults:
            raise MessageError(f"{cls.__name__} lacks {field}")
    return cls(**values)


def _is_integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_string(value: Any) -> bool:
    """Whether a value is text that stands for bytes: no surrogates but U+DC80 to U+DCFF."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return False


def _is_string_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_string, (*value, *value.values())))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": _is_string,
    "int": _is_integer,
    "bool": lambda value: isinstance(value, bool),
    "dict[str, str]": _is_string_map,
}
"""Field annotation to the test its JSON value must pass."""


def _from_json(kind: str, value: Any, where: str) -> Any:
    """`value` as the annotation `kind` says. Annotations are compared as text: see the module."""
    if kind.endswith(" | None"):
        return None if value is None else _from_json(kind.removesuffix(" | None"), value, where)
    if kind.startswith("tuple[") and kind.endswith(", ...]"):
        if not isinstance(value, list):
            raise MessageError(f"{where} is not a list")
        item_kind = kind[len("tuple[") : -len(", ...]")]
        return tuple(_from_json(item_kind, item, where) for item in value)
    check = _CHECKS.get(kind)
    if check is not None:
        if not check(value):
            raise MessageError(f"{where} is not {kind}")
        return value
    return from_json_object(_parts[kind], value)
