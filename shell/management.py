"""Commands about distributions and the machine: everything but running a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from shell import invocations, render
from shell.connection import Connection, open_connection, places, try_connection
from shell.failure import ClientError
from shell.invocations import Invocation
from shell.progress import ProgressLine
from wire import client as messages
from wire import failures
from wire.client import StatusReport
from wire.codec import Message
from wire.version import VERSION

Write = Callable[[str], object]
"""Writes text that was asked for to standard output."""


def carry_out(invocation: Invocation, write: Write) -> int:
    """Carry out any invocation but RunCommand; returns the exit status.

    Raises ClientError, shell.errors.ShellError.
    """
    handler = _HANDLERS.get(type(invocation))
    if handler is None:
        raise ClientError(
            failures.UNSUPPORTED,
            f"--{invocation.OPERATION} is not supported yet",
            hint="docs/wsl-compatibility.md lists what is.",
        )
    return handler(invocation, write) or 0


def _ask(request: Message) -> Any:
    """A request with its progress shown; returns the reply. Raises ClientError."""
    return _ask_over(open_connection(places()), request)


def _ask_over(connection: Connection, request: Message) -> Any:
    progress = ProgressLine(in_files=True)
    connection.on_event = progress.on_event
    try:
        return connection.request(request)
    finally:
        progress.clear()


# -- distributions ---------------------------------------------------------------------------------


def _install(command: invocations.InstallCommand, write: Write) -> int:
    if command.no_distribution:
        _ask(messages.Boot())
        return 0
    if command.from_file:
        request = messages.Import(
            name=command.name,
            location=_absolute(command.location),
            disk_bytes=command.disk_bytes,
            is_fixed=command.fixed_disk,
            first_run=True,
            fallback_name=_name_of_file(command.from_file),
        )
        installed = _import_file(request, command.from_file)
    else:
        installed = _ask(
            messages.Install(
                source=command.distribution,
                name=command.name,
                location=_absolute(command.location),
                disk_bytes=command.disk_bytes,
                is_fixed=command.fixed_disk,
            )
        )
    write(render.installed(installed.name))
    if command.no_launch or not (os.isatty(0) and os.isatty(1)):
        return 0
    from shell.running import run_command

    write(render.launching(installed.name))
    sys.stdout.flush()
    return run_command(invocations.RunCommand(distribution=installed.name))


def _name_of_file(path: str) -> str:
    """A name for a distribution from its archive's: "arch.tar.gz" becomes "arch".

    "" for standard input: without --name, the archive itself must say how it is called.
    """
    return "" if path == "-" else os.path.basename(path).partition(".")[0]


def _import(command: invocations.ImportCommand, write: Write) -> None:
    if command.is_disk:
        path = _absolute(command.file)
        location = _absolute(command.location)
        _ask(messages.ImportDisk(name=command.name, path=path, location=location))
        return
    request = messages.Import(name=command.name, location=_absolute(command.location))
    _import_file(request, command.file)


def _import_file(request: messages.Import, file: str) -> messages.Installed:
    from shell.transfers import import_archive

    return import_archive(open_connection(places()), request, file, ProgressLine(in_files=True))


def _import_in_place(command: invocations.ImportInPlaceCommand, write: Write) -> None:
    _ask(messages.ImportInPlace(name=command.name, path=_absolute(command.file)))


def _export(command: invocations.ExportCommand, write: Write) -> None:
    if command.format == "vhd":
        _ask(messages.ExportDisk(name=command.name, path=_absolute(command.file)))
        return
    from shell.transfers import export_archive, format_of

    request = messages.Export(name=command.name, format=command.format or format_of(command.file))
    connection = open_connection(places())
    export_archive(connection, request, command.file, ProgressLine(in_files=True))


def _list(command: invocations.ListCommand, write: Write) -> None:
    if command.online:
        catalogue = [(row.name, row.friendly_name) for row in _ask(messages.Catalogue()).rows]
        write(render.online(command, catalogue))
    else:
        write(render.listing(command, _ask(messages.List()).distributions))


def _terminate(command: invocations.TerminateCommand, write: Write) -> None:
    _ask(messages.Terminate(name=command.name))


def _unregister(command: invocations.UnregisterCommand, write: Write) -> None:
    _ask(messages.Unregister(name=command.name))


def _set_default(command: invocations.SetDefaultCommand, write: Write) -> None:
    _ask(messages.SetDefault(name=command.name))


def _manage(command: invocations.ManageCommand, write: Write) -> None:
    name = command.name
    requests: dict[str, Callable[[], Message]] = {
        "move": lambda: messages.Move(name=name, directory=_absolute(command.move)),
        "resize": lambda: messages.ResizeDisk(name=name, size_bytes=command.resize_bytes),
        "set-sparse": lambda: messages.SetSparse(name=name, is_sparse=command.sparse),
        "set-default-user": lambda: messages.SetDefaultUser(name=name, user=command.default_user),
    }
    _ask(requests[command.action]())


def _absolute(path: str) -> str:
    """The service has a working directory of its own."""
    return os.path.abspath(path) if path else ""


# -- the machine -----------------------------------------------------------------------------------


def _shutdown(command: invocations.ShutdownCommand, write: Write) -> None:
    connection = try_connection(places())
    if connection is None:
        return
    try:
        _ask_over(connection, messages.Shutdown(force=command.force))
    except ClientError as error:
        if error.code != failures.VERSION_MISMATCH:
            raise
        # It is of before an upgrade: nobody can use it any more, so it ends altogether.
        _ask_over(connection, messages.Quit())


def _status(command: invocations.StatusCommand, write: Write) -> None:
    report = _ask(messages.Status())
    write(render.status_json(report) if command.json else render.status(report))


def _version(command: invocations.VersionCommand, write: Write) -> None:
    report: StatusReport | None = None
    connection = try_connection(places())
    if connection is not None:
        try:
            report = _ask_over(connection, messages.Status())
        except ClientError as error:
            if error.code != failures.VERSION_MISMATCH:
                raise
    write(render.version(VERSION, report))


def _update(command: invocations.UpdateCommand, write: Write) -> None:
    updated = _ask(messages.Update())
    write(render.updated(updated))


# -- explanations ----------------------------------------------------------------------------------


def _help(command: invocations.HelpCommand, write: Write) -> None:
    from shell.usage import usage

    write(usage(command.topic))


def _completion(command: invocations.CompletionCommand, write: Write) -> None:
    from shell.completion import script

    write(script(command.shell))


def _nothing_to_do(command: Invocation, write: Write) -> None:
    """The one thing it could ask for is so already."""


_HANDLERS: dict[type[Invocation], Callable[[Any, Write], int | None]] = {
    invocations.InstallCommand: _install,
    invocations.ImportCommand: _import,
    invocations.ExportCommand: _export,
    invocations.ImportInPlaceCommand: _import_in_place,
    invocations.ListCommand: _list,
    invocations.ManageCommand: _manage,
    invocations.TerminateCommand: _terminate,
    invocations.UnregisterCommand: _unregister,
    invocations.SetDefaultCommand: _set_default,
    invocations.SetDefaultVersionCommand: _nothing_to_do,
    invocations.ShutdownCommand: _shutdown,
    invocations.StatusCommand: _status,
    invocations.VersionCommand: _version,
    invocations.UpdateCommand: _update,
    invocations.HelpCommand: _help,
    invocations.CompletionCommand: _completion,
}
