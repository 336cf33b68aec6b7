"""`isthmus` and `lx`: from the command line to its exit status. The only module that prints."""

from __future__ import annotations

import io
import os
import sys

from shell import exitcodes
from shell.connection import open_connection, places
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
    for stream in (sys.stdout, sys.stderr):
        # Names of any script must not break a list on a console with a small code page.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    status = run(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(argv: list[str]) -> int:
    """Carry out a command line; returns the exit status. Every error is shown here."""
    invocation: Invocation | None = None
    try:
        invocation = _parse(argv)
        if isinstance(invocation, RunCommand):
            return _run_command(invocation)
        from shell.management import carry_out

        return carry_out(invocation, sys.stdout.write)
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


def _parse(argv: list[str]) -> Invocation:
    if sys.platform == "win32":
        from shell.command_line_windows import own_command_line

        return parse_windows(*own_command_line())
    return parse_posix(argv[1:])


def _run_command(command: RunCommand) -> int:
    from shell.progress import ProgressLine
    from shell.running import Session, run_request

    connection = open_connection(places())
    session = Session(connection, ProgressLine())
    return session.run(run_request(command, session.terminal))
