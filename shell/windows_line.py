"""Command lines as Windows passes them: one text (GetCommandLineW), which we split. Pure.

Three ways of splitting, as in wsl.exe, so that a line typed for it means the same here:

- options are separated by blanks and quotes mean nothing, but for the value of --cd;
- what is left for the Linux shell is not split at all;
- what is left for --exec, and the arguments of sub-commands, follow CommandLineToArgvW
  (https://learn.microsoft.com/windows/win32/api/shellapi/nf-shellapi-commandlinetoargvw).
"""

from __future__ import annotations

from wire.winargs import split_arguments

_BLANKS = " \t"


def replace_lone_surrogates(line: str) -> str:
    """`line` with U+FFFD for halves of UTF-16 pairs, which no Linux program could be given."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return line.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return line


def strip_program(line: str) -> str:
    """What follows the first word; quotes in it group, and have no escapes (it is a file name)."""
    in_quotes = False
    for at, character in enumerate(line):
        if character == '"':
            in_quotes = not in_quotes
        elif character in _BLANKS and not in_quotes:
            return line[at:].lstrip(_BLANKS)
    return ""


def split_program(line: str) -> list[str]:
    """Program and arguments in `line`: the first word as a file name, the rest as above.

    A program's name begins with a quote and ends with the next one, or ends with a blank.
    """
    line = line.lstrip(_BLANKS)
    if not line:
        return []
    if line[0] == '"':
        program, _, rest = line[1:].partition('"')
    else:
        end = min((at for at in map(line.find, _BLANKS) if at >= 0), default=len(line))
        program, rest = line[:end], line[end:]
    return [program, *split_arguments(rest)]


class WindowsLine:
    """A reader over a raw command line; has the same methods as PosixLine."""

    __slots__ = ("_rest",)

    def __init__(self, line: str, programs: int = 1) -> None:
        """`programs` words at the start are not the user's: ours, the interpreter's, a script."""
        self._rest = replace_lone_surrogates(line)
        for _ in range(programs):
            self._rest = strip_program(self._rest)

    def peek(self) -> str | None:
        """The next token, up to a blank; None at the end."""
        token = self._rest.partition(" ")[0].partition("\t")[0]
        return token or None

    def advance(self) -> None:
        """Go past the token that peek has shown."""
        self._drop(len(self.peek() or ""))

    def take_value(self, *, quotes: bool = False) -> str | None:
        """The next token as an option's value, None at the end.

        With `quotes` a value that begins with a quote goes up to the next one, and loses both.
        """
        if quotes and self._rest.startswith('"'):
            end = self._rest.find('"', 1)
            if end > 0:
                value = self._rest[1:end]
                self._drop(end + 1)
                return value
        token = self.peek()
        self.advance()
        return token

    def shell_line(self) -> str | None:
        """The rest, verbatim; None where there is no rest."""
        return self._rest or None

    def program(self) -> list[str]:
        """The rest as program and arguments."""
        return split_program(self._rest)

    def arguments(self) -> list[str]:
        """The rest as arguments of a sub-command."""
        return split_arguments(self._rest)

    def _drop(self, count: int) -> None:
        self._rest = self._rest[count:].lstrip(_BLANKS)
