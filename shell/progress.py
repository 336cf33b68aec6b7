"""Progress on the user's terminal: nothing for what takes less than a second."""

from __future__ import annotations

import os
import sys
import threading
import time

from wire.codec import Message
from wire.common import CONSOLE_LINE, NOTICE, Progress

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PATIENCE_S = 1.0
"""What a user waits for without being told."""


class ProgressLine:
    """Shows Progress events on standard error: bars on a terminal, a line a step elsewhere.

    `in_files` also writes lines where standard error is not a terminal; commands that pass a
    Linux program's output on leave it off, for their callers read that output.
    """

    def __init__(self, *, in_files: bool = False) -> None:
        self._is_terminal = os.isatty(2)
        self._in_files = in_files
        self._latest: Progress | None = None
        self._shown_label = ""
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._timer: threading.Timer | None = None
        self._patient_until = 0.0

    def on_event(self, event: Message) -> None:
        """An event of the connection; those that are not Progress are ignored."""
        if not isinstance(event, Progress):
            return
        with self._lock:
            if event.unit == CONSOLE_LINE:
                self._show_line(event.label)
                return
            if event.unit == NOTICE:
                from shell import render

                self._show_line(render.warning(event.label).removesuffix("\n"))
                return
            self._latest = event
            if self._timer is None:
                self._patient_until = time.monotonic() + _PATIENCE_S
                self._timer = threading.Timer(_PATIENCE_S, self._out_of_patience)
                self._timer.daemon = True
                self._timer.start()
            elif time.monotonic() >= self._patient_until:
                self._show(event)

    def _out_of_patience(self) -> None:
        with self._lock:
            if self._latest is not None:
                self._show(self._latest)

    def _show(self, event: Progress) -> None:
        if self._is_terminal:
            self._show_bar(event)
        elif self._in_files and event.label != self._shown_label:
            print(event.label, file=sys.stderr, flush=True)
        self._shown_label = event.label

    def _show_line(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            # On a raw terminal a line feed alone would not go back to the first column.
            end = "\r\n" if self._is_terminal else "\n"
            print(line, file=sys.stderr, end=end, flush=True)

    def _show_bar(self, event: Progress) -> None:
        if self._bars is None:
            self._bars = _make_bars()
            self._bars.start()
        if self._task is None or event.label != self._shown_label:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(event.label, total=None)
        self._bars.update(self._task, completed=event.done, total=event.total or None)

    def clear(self) -> None:
        """Remove what is shown: output, or the end, comes next."""
        with self._lock:
            self._latest = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._bars is not None:
                self._bars.stop()
                self._bars = None
                self._task = None


def _make_bars() -> Bars:
    """rich's bars, which take a fifth of a second to import: only for those who wait anyway."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
