"""What a Windows program is started with: its argv and command line (docs/paths.md §6). Pure."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from wire.errors import ArgumentError
from wire.winargs import join_command_line

MAX_COMMAND_LINE = 32_767
"""UTF-16 code units, the final NUL included, that CreateProcessW takes:
https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-createprocessw
"""


def windows_argv(program: str, argv: Sequence[str]) -> list[str]:
    """The argv that a Windows program gets for a Linux execve(2) of `program` with `argv`.

    binfmt_misc's flag P keeps the caller's argv[0]. Where that is the program's own Linux path,
    the name alone is passed on: programs such as cmd.exe take a "/" in it for an option.
    """
    first = argv[0] if argv else program
    if first == program:
        first = program.rstrip("/").rpartition("/")[2]
    return [first, *argv[1:]]


def command_line(program: str, argv: Sequence[str]) -> str:
    """The command line for CreateProcessW of `program` with `argv` (see windows_argv).

    Raises ArgumentError: an argument holds NUL, or all of them are more than Windows takes.
    """
    line = join_command_line(windows_argv(program, argv))
    check_length(line)
    return line


def check_length(line: str) -> None:
    """Raises ArgumentError where Windows takes no command line as long as `line`."""
    units = len(line.encode("utf-16-le", "surrogatepass")) // 2 + 1
    if units > MAX_COMMAND_LINE:
        raise ArgumentError(
            line,
            f"is {units} characters long, and Windows takes {MAX_COMMAND_LINE}",
            hint="Pass fewer arguments at a time (xargs -s 30000), or put them into a file.",
            number=errno.E2BIG,
        )
