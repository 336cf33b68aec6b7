"""What is wrong with a command line, or with what it asks to see. render.py words it, main exits.

    ShellError
    ├── UsageError             the command line is wrong
    │   └── NotYetError        wsl.exe can do this, Isthmus does not
    └── NothingListedError     --list has nothing to show

What goes wrong while a command is carried out is not here: shell/failure.py.
"""

from __future__ import annotations

from shell import exitcodes

INVALID_ARGUMENT = "E_INVALIDARG"
INVALID_USAGE = "WSL_E_INVALID_USAGE"
VERSION_PARSE_ERROR = "ERROR_VERSION_PARSE_ERROR"
WSL1_NOT_SUPPORTED = "WSL_E_WSL1_NOT_SUPPORTED"


class ShellError(Exception):
    """Root of what the pure side of the shell package raises.

    `code` is a stable name ("" for none) and `context` the operation it happened in, written as
    in the user's error line, without its first element: "Service/RegisterDistro".
    """

    exit_status = exitcodes.FAILED

    def __init__(self, message: str, hint: str = "", *, code: str = "", context: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.context = context


class UsageError(ShellError):
    """The command line is wrong; nothing was asked of the service.

    `topic` is the sub-command it is about ("--list"), "" for the command line as a whole.
    """

    exit_status = exitcodes.USAGE

    def __init__(
        self, message: str, hint: str = "", *, code: str = "", context: str = "", topic: str = ""
    ) -> None:
        super().__init__(message, hint, code=code, context=context)
        self.topic = topic


class NotYetError(UsageError):
    """wsl.exe has this and Isthmus does not, or not yet."""


class NothingListedError(ShellError):
    """`--list` has no row to show, and was not told to be quiet about it."""
