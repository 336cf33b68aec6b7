"""Messages of both links: the end of a request that failed, and progress of one that goes on."""

from __future__ import annotations

from wire.codec import Message

PROTOCOL_VERSION = 1
"""Raised whenever an older peer could misread a newer one; both sides of a link must agree."""


CONSOLE_LINE = "console-line"
NOTICE = "notice"
"""See Progress."""


class Failure(Message, name="failure"):
    """Reply to any request: it was refused, and nothing of it was done unless `partial`.

    `code` is a stable name from wire.failures.
    """

    code: str
    message: str
    hint: str = ""
    partial: bool = False


class Done(Message, name="done"):
    """Reply to a request that has nothing to say but that it succeeded."""


class Progress(Message, name="progress"):
    """Event: a request that takes over a second tells where it is.

    `total` is 0 where the end is not known; `unit` is "bytes", "" (steps), or CONSOLE_LINE: then
    `label` is a line of the virtual machine's console, to be shown as it is. With NOTICE it is
    something that every user must know now, whatever he is doing.
    """

    label: str
    done: int = 0
    total: int = 0
    unit: str = ""


class Terminal(Message):
    """The terminal a process gets: its size in character cells."""

    rows: int
    columns: int


class Resize(Message, name="resize"):
    """Event to the agent: the user's terminal has a new size (delivers SIGWINCH)."""

    session: int
    rows: int
    columns: int


class Signal(Message, name="signal"):
    """Event to the agent: send a Linux signal number to the session's process group."""

    session: int
    number: int


class Hangup(Message, name="hangup"):
    """Event to the agent: the session's client is gone; SIGHUP its process group, close streams."""

    session: int


class Exited(Message, name="exited"):
    """Event, the last of a session: its process has ended and all its output has been sent.

    `signal` is 0 for an ordinary exit, else the signal that killed it and `status` is 0.
    """

    session: int
    status: int
    signal: int = 0
    core_dumped: bool = False
