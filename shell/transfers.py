"""`--import` and `--export`: archives between files of the host and session 1."""

from __future__ import annotations

import os
import queue
import threading

from shell.archives import ArchiveWriter, open_archive
from shell.connection import Connection
from shell.failure import ClientError
from shell.progress import ProgressLine
from shell.streams import SESSION, Reader
from wire import failures
from wire.client import Export, Import, Installed
from wire.codec import Message
from wire.common import Hangup, Progress
from wire.flow import ReceiveWindow
from wire.frame import FrameKind, StreamId, decode_credit, encode_credit


def import_archive(
    connection: Connection, request: Import, path: str, progress: ProgressLine
) -> Installed:
    """Send an archive as the import's input; returns what was registered. Raises ClientError."""
    connection.greet()
    total = os.path.getsize(path) if os.path.isfile(path) else 0

    def tell(done: int) -> None:
        progress.on_event(Progress(label="Importing", done=done, total=total, unit="bytes"))

    read_tar = open_archive(path, tell)
    damage: list[OSError] = []

    def read(limit: int) -> bytes:
        try:
            return read_tar(limit)
        except OSError as error:
            # The guest must not take a broken archive's first half for a whole one. The reply
            # to the import comes when what it has done is undone.
            damage.append(error)
            connection.send_event(Hangup(session=SESSION))
            raise

    connection.on_event = progress.on_event
    number = connection.send_request(request)
    reader = Reader(connection, StreamId.STDIN, read)
    try:
        while True:
            frame = connection.receive()
            if frame.kind == FrameKind.CREDIT:
                reader.grant(decode_credit(frame))
            elif frame.kind == FrameKind.STOP:
                reader.stop()
            elif frame.kind == FrameKind.MESSAGE:
                reply = connection.receive_message(frame, number)
                if isinstance(reply, Installed):
                    return reply
    except ClientError:
        if damage:
            raise ClientError(
                failures.IMPORT_FAILED,
                f"{path}: {damage[0]}",
                hint="Nothing was registered. Fetch or make the archive again.",
            ) from None
        raise
    finally:
        progress.clear()


_FORMAT_OF_SUFFIX = ((".gz", "tar.gz"), (".tgz", "tar.gz"), (".xz", "tar.xz"), (".txz", "tar.xz"))


def format_of(path: str) -> str:
    """The format that an archive's name promises; a plain tar where it promises nothing. Pure."""
    for suffix, format in _FORMAT_OF_SUFFIX:
        if path.lower().endswith(suffix):
            return format
    return "tar"


def export_archive(
    connection: Connection, request: Export, path: str, progress: ProgressLine
) -> None:
    """Receive a distribution's tree and write it to `path`. Raises ClientError."""
    writer = ArchiveWriter(path, request.format)
    connection.on_event = progress.on_event
    try:
        _receive_archive(connection, request, writer, progress)
        writer.complete()
    except BrokenPipeError:
        raise  # the reader of standard output has what it wanted
    except OSError as error:
        raise ClientError(
            failures.EXPORT_FAILED,
            f"{path}: {error.strerror or error}",
            hint="The incomplete file has been removed.",
        ) from None
    finally:
        writer.abandon()
        progress.clear()


def _receive_archive(
    connection: Connection, request: Export, writer: ArchiveWriter, progress: ProgressLine
) -> None:
    """Compression runs on a thread of its own, so that it and the guest work side by side."""
    chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    window = ReceiveWindow()
    problems: list[OSError] = []

    def write() -> None:
        done = 0
        while data := chunks.get():
            if problems:
                continue
            try:
                writer.write(data)
            except OSError as error:
                problems.append(error)
                connection.close()
                continue
            done += len(data)
            progress.on_event(Progress(label="Exporting", done=done, unit="bytes"))
            credit = window.consume(len(data))
            if credit:
                connection.send_frame(encode_credit(StreamId.STDOUT, SESSION, credit))

    thread = threading.Thread(target=write)
    number = connection.send_request(request)
    thread.start()
    reply: Message | None = None
    try:
        while reply is None:
            frame = connection.receive()
            if frame.kind == FrameKind.DATA and frame.stream == StreamId.STDOUT:
                window.receive(len(frame.payload))
                chunks.put(bytes(frame.payload))
            elif frame.kind == FrameKind.MESSAGE:
                reply = connection.receive_message(frame, number)
    except ClientError:
        if not problems:
            raise
    finally:
        chunks.put(b"")
        thread.join()
    if problems:
        raise problems[0]
