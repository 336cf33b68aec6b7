"""JSON for messages, without the modules that `json` brings with it.

`json` is two functions in C, and patterns around them for options and for error positions: `re`
and what that imports are a seventh of a whole warm `lx`, and under emulation a tenth of a second
of the guest's boot. Here the two are called directly, with what `json` itself would pass them; an
interpreter that has them not, or others, gets `json`.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Any

_BLANKS = " \t\n\r"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


class _Context:
    """What the C scanner asks of its decoder (Lib/json/decoder.py, JSONDecoder)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner keeps its own


def _direct() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """Both functions from the C module. Raises ImportError, AttributeError or TypeError."""
    import _json

    def default(value: Any) -> Any:
        raise TypeError(f"{type(value).__name__} has no form in JSON")

    encode = _json.encode_basestring_ascii
    chunks = _json.make_encoder(None, default, encode, None, ":", ",", False, False, False)
    context: Any = _Context  # it takes whatever has these attributes
    scan = _json.make_scanner(context)

    def dumps(value: Any) -> str:
        return "".join(chunks(value, 0))

    def loads(text: str) -> Any:
        stripped = text.strip(_BLANKS)
        try:
            value, end = scan(stripped, 0)
            if end == len(stripped):
                return value
        except (StopIteration, SystemError):
            # Before Python 3.13 the scanner has no exception to raise while `json` is not loaded.
            pass
        return _by_library()[1](text)  # says what is wrong, and where

    if loads(dumps({"a": [1, "\u20ac"]})) != {"a": [1, "\u20ac"]}:
        raise TypeError("another form of the C module")
    return dumps, loads


def _by_library() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    import json

    def dumps(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    def loads(text: str) -> Any:
        return json.loads(text, parse_constant=_refuse)

    return dumps, loads


try:
    dumps, loads = _direct()
except (ImportError, AttributeError, TypeError):
    dumps, loads = _by_library()
