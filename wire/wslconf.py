"""The grammar of .wslconfig, wsl.conf and wsl-distribution.conf (behaviour §2). Pure.

Sections and keys as in git-config(1), with differences that users rely on: values are in quotes
only where blanks or a # matter, backslashes are escapes even in Windows paths (`C:\\\\kernel`),
and a key counts the first time it stands there. `parse` knows the form alone; `read_config`
holds a table of `Key`s against it and gives typed values, and warnings in WSL's words.

Loaded by the guest's agent, for which every imported module costs ten times what it costs on the
host: this one imports none.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    Value: TypeAlias = bool | int | str | tuple[int, ...]
    Reader: TypeAlias = Callable[[str, "Key"], tuple[Value | None, bool]]

BLANKS = " \t"
ESCAPES = {"\\": "\\", '"': '"', "b": "\b", "n": "\n", "t": "\t"}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NAME = _LETTERS | frozenset("0123456789")

MAX_WARNINGS = 20
"""Of one file; a hostile one must not fill the user's screen, nor a message."""
_MAX_QUOTED = 80


class Malformed:
    """A line that is not of the grammar: `reason` and where, both for the user."""

    __slots__ = ("line", "reason")

    def __init__(self, reason: str, line: int) -> None:
        self.reason = reason
        self.line = line


class Entry:
    """One `key = value`: `name` is "section.key" as the file spells it, `line` where it ends."""

    __slots__ = ("line", "name", "value")

    def __init__(self, name: str, value: str, line: int) -> None:
        self.name = name
        self.value = value
        self.line = line


class _BadLine(Exception):
    """The rest of the line cannot be understood."""


class _Scanner:
    """A position in the text. `line` counts from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.line = 1

    def peek(self) -> str:
        """The next character; "" at the end."""
        return self._text[self._at : self._at + 1]

    def take(self) -> str:
        """The next character, which is now behind us; "" at the end."""
        char = self.peek()
        self._at += 1
        if char == "\n":
            self.line += 1
        return char

    def skip_blanks(self) -> None:
        """Go to the next character that is no blank."""
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1

    def skip_line(self) -> None:
        """Go to the start of the next line."""
        end = self._text.find("\n", self._at)
        if end < 0:
            self._at = len(self._text)
        else:
            self._at = end + 1
            self.line += 1

    def take_name(self) -> str:
        """Letters and digits; "" unless a letter begins them."""
        start = self._at
        if self.peek() in _LETTERS:
            while self.peek() in _NAME:
                self._at += 1
        return self._text[start : self._at]

    def section(self) -> str:
        """The name in `[name]`, the bracket being next. Raises _BadLine."""
        self.take()
        name = self.take_name()
        if not name:
            raise _BadLine("Invalid section name")
        if self.take_if("]") is None:
            raise _BadLine("Expected ']'")
        self.skip_blanks()
        if self.peek() not in ("", "\n", "#"):
            raise _BadLine("Expected ' ' or '\\n'")
        return name

    def key(self) -> str:
        """The name before a `=`, which is taken too. Raises _BadLine."""
        name = self.take_name()
        if not name:
            raise _BadLine("Invalid key name")
        self.skip_blanks()
        if self.take_if("=") is None:
            raise _BadLine("Expected '='")
        self.skip_blanks()
        return name

    def take_if(self, wanted: str) -> str | None:
        """Take the next character if it is `wanted`."""
        return self.take() if self.peek() == wanted else None

    def value(self) -> str:
        """Up to a comment or the line's end, without blanks that end it. Raises _BadLine."""
        kept: list[str] = []
        length = 0  # what is left when trailing blanks go
        quoted = False
        while (char := self.peek()) not in ("", "\n") and (quoted or char != "#"):
            self.take()
            if char == '"':
                quoted = not quoted
            elif char == "\\":
                kept.append(self._escaped())
            else:
                kept.append(char)
            if char not in BLANKS:
                length = len(kept)
        if quoted:
            raise _BadLine("Expected '\"'")
        return "".join(kept[:length])

    def _escaped(self) -> str:
        """What a backslash and the next character stand for. Raises _BadLine."""
        if self.take_if("\n") is not None:
            return ""  # the value goes on in the next line
        char = self.peek()
        if char not in ESCAPES:
            raise _BadLine(f"Invalid escaped character: '{printable(char)}'")
        return ESCAPES[self.take()]


def parse(text: str, *, stop_at_malformed: bool) -> Iterator[Entry | Malformed]:
    """Every entry of a file, and every malformed line, in their order.

    stop_at_malformed: nothing after the first malformed line counts (wsl.conf), rather than
    that line alone not counting (.wslconfig). Keys after a malformed `[section` are in none.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    scanner = _Scanner(text)
    section = ""
    while True:
        scanner.skip_blanks()
        char = scanner.peek()
        if not char:
            return
        try:
            if char == "[":
                section = ""
                section = scanner.section() + "."
            elif char not in "\n#":
                name = section + scanner.key()
                yield Entry(name, scanner.value(), scanner.line)
        except _BadLine as error:
            yield Malformed(str(error), scanner.line)
            if stop_at_malformed:
                return
        scanner.skip_line()


# -- values ----------------------------------------------------------------------------------------


class State:
    """What becomes of a key. Plain text, so that tables read as prose."""

    HONOURED = "honoured"
    """It does what it says."""
    NOT_YET = "not yet"
    """It will; until then whoever sets it is told."""
    NO_EFFECT = "no effect"
    """It steers a part of Windows or of WSL that Isthmus has no counterpart of."""


class Key:
    """A key that a file may have.

    `name` is "section.key", `kind` one of READERS, `default` the value where the file has none
    (None: `shown` says what it depends on), `about` one line for the user's manual. `always` is
    what Isthmus does whatever the file says, so that asking for just that is no cause for a
    warning. `choices` go with the kind "choice". `ours` marks what WSL has not. `wsl_default`
    is WSL's own default where ours differs on purpose.
    """

    __slots__ = (
        "about",
        "aliases",
        "always",
        "choices",
        "default",
        "kind",
        "name",
        "ours",
        "shown",
        "state",
        "wsl_default",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        default: Value | None,
        about: str,
        *,
        state: str = State.HONOURED,
        always: Value | None = None,
        aliases: tuple[str, ...] = (),
        choices: tuple[str, ...] = (),
        shown: str = "",
        wsl_default: str = "",
        ours: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.about = about
        self.state = state
        self.always = always
        self.aliases = aliases
        self.choices = choices
        self.shown = shown
        self.wsl_default = wsl_default
        self.ours = ours


_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_MEMORY_UNITS = {"": 1} | {
    spelling: 1 << 10 * power
    for power, unit in enumerate("BKMGT")
    for spelling in (unit, f"{unit}B" if power else unit)
}
_MAX_DIGITS = 32
_MAX_INTEGER = 2**31 - 1
_MAX_MEMORY = 2**63 - 1


def read_boolean(text: str) -> bool | None:
    """1, 0, true or false, whatever their case; None for anything else."""
    return _BOOLEANS.get(text.lower())


def read_integer(text: str) -> int | None:
    """A 32-bit integer as strtol(3) with base 0 reads it: 0x for hexadecimal, 0 for octal."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    base, allowed = 10, "0123456789"
    if digits[:2] in ("0x", "0X"):
        digits, base, allowed = digits[2:], 16, "0123456789abcdefABCDEF"
    elif digits[:1] == "0":
        base, allowed = 8, "01234567"
    # Not left to int(), which also takes blanks, underscores and other scripts' digits.
    if not digits or digits.strip(allowed) or len(digits) > _MAX_DIGITS:
        return None
    number = int(digits, base)
    number = -number if text[:1] == "-" else number
    return number if -_MAX_INTEGER - 1 <= number <= _MAX_INTEGER else None


def read_memory(text: str) -> int | None:
    """Bytes, from a decimal number and a unit: none or B, K or KB, M or MB, G or GB, T or TB.

    Units are in upper case, are powers of 1024, and follow without a blank.
    """
    digits = text.rstrip("BKMGT")
    factor = _MEMORY_UNITS.get(text[len(digits) :])
    if factor is None or not digits or digits.strip("0123456789") or len(digits) > _MAX_DIGITS:
        return None
    if digits != "0" and int(digits) == 0:
        return None  # WSL takes a lone 0 only
    size = int(digits) * factor
    return size if size <= _MAX_MEMORY else None


def _read_mac(text: str) -> str | None:
    """A MAC address with colons, from one with colons or dashes."""
    separator = text[2:3]
    octets = text.lower().split(separator) if separator in ("-", ":") else []
    digits = "0123456789abcdef"
    if len(octets) != 6 or any(len(octet) != 2 or octet.strip(digits) for octet in octets):
        return None
    return ":".join(octets)


def _read_ip(text: str) -> str | None:
    """An IPv4 address in the form of inet_pton(3)."""
    parts = text.split(".")
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) < 4 and int(part) < 256):
            return None
        if len(part) > 1 and part[0] == "0":
            return None
    return text if len(parts) == 4 else None


def _read_ports(text: str, _key: Key) -> tuple[Value | None, bool]:
    """Port numbers, separated by commas; those that are none are left out."""
    parts = [read_integer(part.strip()) for part in text.split(",")]
    ports = tuple(port for port in parts if port is not None and 0 < port < 65536)
    return ports, len(ports) == len(parts)


def _read_choice(text: str, key: Key) -> tuple[Value | None, bool]:
    """One of the key's choices as the table spells it; their case does not matter."""
    for choice in key.choices:
        if choice.lower() == text.lower():
            return choice, True
    return None, False


def _whole(read: Callable[[str], Value | None]) -> Reader:
    """A reader whose value is valid unless there is none."""

    def reader(text: str, _key: Key) -> tuple[Value | None, bool]:
        value = read(text)
        return value, value is not None

    return reader


READERS: dict[str, tuple[Reader, str]] = {
    "boolean": (_whole(read_boolean), "boolean value"),
    "integer": (_whole(read_integer), "integer value"),
    "memory": (_whole(read_memory), "memory string"),
    "text": (_whole(str), ""),
    "path": (_whole(str), ""),
    "choice": (_read_choice, "value"),
    "mac": (_whole(_read_mac), "MAC address"),
    "ip": (_whole(_read_ip), "IP value"),
    "ports": (_read_ports, "integer value"),
}
"""Kind of a key to what reads it, (text, key) -> (value, whether all of it was valid), and to
what an invalid one is called."""


class Config:
    """What a file says: typed values of its known keys, and what the user should know of it."""

    __slots__ = ("_keys", "values", "warnings")

    def __init__(
        self, keys: Mapping[str, Key], values: Mapping[str, Value], warnings: tuple[str, ...]
    ) -> None:
        self._keys = keys
        self.values = values
        """By the key's name in the table; only what the file sets."""
        self.warnings = warnings

    def get(self, name: str) -> Value | None:
        """What the file says, else the default."""
        return self.values.get(name, self._keys[name].default)

    def boolean(self, name: str) -> bool:
        """The value of a key of the kind "boolean"."""
        return self.get(name) is True

    def integer(self, name: str) -> int:
        """The value of a key of the kind "integer" or "memory" that has a default."""
        value = self.get(name)
        assert isinstance(value, int), name
        return value

    def text(self, name: str) -> str:
        """The value of a key of any other kind but "ports"; "" where there is none."""
        value = self.get(name)
        return value if isinstance(value, str) else ""


def read_config(text: str, keys: Sequence[Key], file: str, *, stop_at_malformed: bool) -> Config:
    """The typed values of `text`, which stands in `file` (for warnings only).

    A key whose value is invalid keeps its default, and blocks later duplicates all the same.
    """
    table = _by_spelling(keys)
    values: dict[str, Value] = {}
    first: dict[str, Entry] = {}
    warnings = Warnings(file)
    for item in parse(text, stop_at_malformed=stop_at_malformed):
        if isinstance(item, Malformed):
            warnings.add(item.reason, item.line)
            continue
        key = table.get(item.name.lower())
        if key is None:
            warnings.add(f"Unknown key '{item.name}'", item.line)
            continue
        earlier = first.setdefault(key.name, item)
        if earlier is not item:
            conflict = f" (Conflicting key: '{earlier.name}' in {file}:{earlier.line})"
            warnings.add(f"Duplicated config key '{item.name}'", item.line, conflict)
            continue
        value = _read_value(key, item, warnings)
        if value is not None:
            values[key.name] = value
            _warn_if_idle(key, value, item, warnings)
    return Config({key.name: key for key in keys}, values, warnings.finished())


def _by_spelling(keys: Sequence[Key]) -> dict[str, Key]:
    """Every spelling of every key, in lower case."""
    return {name.lower(): key for key in keys for name in (key.name, *key.aliases)}


def _read_value(key: Key, entry: Entry, warnings: Warnings) -> Value | None:
    """The typed value of an entry; None, and a warning, if it is invalid."""
    reader, noun = READERS[key.kind]
    # Where a value meets C, on either side, it ends at a NUL.
    value, valid = reader(entry.value.partition("\0")[0], key)
    if not valid:
        choices = f" (Valid values: {', '.join(key.choices)})" if key.choices else ""
        what = f"Invalid {noun} '{printable(entry.value)}' for config key '{entry.name}'"
        warnings.add(what, entry.line, choices)
    return value


def _warn_if_idle(key: Key, value: Value, entry: Entry, warnings: Warnings) -> None:
    """Tell who sets a key that changes nothing, unless it is so already."""
    if key.state == State.HONOURED or (key.always is not None and value == key.always):
        return
    what = "is not honoured yet" if key.state == State.NOT_YET else "has no effect in Isthmus"
    warnings.add(f"Key '{entry.name}' {what}", entry.line)


class Warnings:
    """Warnings about `file`, of which only the first MAX_WARNINGS are kept."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._texts: list[str] = []
        self._dropped = 0

    def add(self, what: str, line: int, more: str = "") -> None:
        """Keep `what in FILE:LINE`, and `more` behind it."""
        if len(self._texts) < MAX_WARNINGS:
            self._texts.append(f"{what} in {self._file}:{line}{more}")
        else:
            self._dropped += 1

    def finished(self) -> tuple[str, ...]:
        """All that were kept, and how many were not."""
        if not self._dropped:
            return tuple(self._texts)
        return (*self._texts, f"{self._dropped} more warnings about {self._file}")


def printable(text: str) -> str:
    """`text` with nothing in it that could steer a terminal, and not too long."""
    clipped = text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "..."
    return "".join(char if char.isprintable() else "?" for char in clipped)
