"""`isthmus` and `lx`: from the command line to its exit status. The only module that prints."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from shell import exitcodes
from shell.errors import ShellError
from shell.failure import ClientError
from shell.grammar import parse_posix, parse_windows
from shell.invocations import RunCommand

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from shell.invocations import Invocation


def main() -> None:
    """Entry point. Ends the process itself: what the interpreter tidies up at its end takes
    longer than a warm command."""
    _hold_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        # Names of any script must not break a list on a console with a small code page. A pipe on
        # Windows gets UTF-8, as with WSL_UTF8=1: what Linux programs write there is, too.
        if isinstance(stream, io.TextIOWrapper):
            encoding = "utf-8" if sys.platform == "win32" else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    os._exit(run(sys.argv))


def _hold_standard_descriptors() -> None:
    """Put the null device where our caller has closed a standard stream, as OpenSSH does.

    Else the next thing we open, such as the connection to the service, would get its number,
    and be read as the command's input.
    """
    if sys.stdin is not None and sys.stdout is not None and sys.stderr is not None:
        return
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    # These live as long as the process.
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


_ATTEMPTS = 5
"""A service that ends while we come is followed by another: never by many."""


def run(argv: list[str]) -> int:
    """Carry out a command line; returns the exit status. Every error is shown here."""
    invocation: Invocation | None = None
    try:
        invocation = _parse(argv)
        for _ in range(_ATTEMPTS - 1):
            try:
                return _carry_out(invocation)
            except ClientError as error:
                if not error.may_repeat:
                    raise
        return _carry_out(invocation)
    except ShellError as error:
        from shell import render

        sys.stderr.write(render.error(error))
        return error.exit_status
    except ClientError as error:
        from shell import render

        sys.stderr.write(render.failure(error.to_failure(), invocation or RunCommand()))
        return exitcodes.status_of_failure(error.code)
    except KeyboardInterrupt:
        return exitcodes.SIGNAL_BASE + 2
    except BrokenPipeError:
        # Our reader has closed the pipe: what a C program's death by SIGPIPE says. The stream
        # is pointed elsewhere, or flushing it at the end would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return exitcodes.SIGNAL_BASE + 13
    except OSError as error:
        # What else can fail that is not caught where it happens is writing what was asked for.
        with contextlib.suppress(OSError):
            sys.stderr.write(f"standard output: {error.strerror or error}\n")
            sys.stderr.flush()
        return exitcodes.FAILED


def _carry_out(invocation: Invocation) -> int:
    """Raises ClientError, ShellError, OSError, KeyboardInterrupt."""
    if isinstance(invocation, RunCommand):
        from shell.running import run_command

        return run_command(invocation)
    from shell.management import carry_out

    status = carry_out(invocation, sys.stdout.write)
    sys.stdout.flush()
    return status


def _parse(argv: list[str]) -> Invocation:
    if sys.platform == "win32":
        from shell.command_line_windows import own_command_line

        return parse_windows(*own_command_line())
    return parse_posix(argv[1:])
