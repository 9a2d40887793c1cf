"""Waiting for a run: until it is made, and until its log is read."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forebay.cli.output import progress

if TYPE_CHECKING:
    from forebay.acquisition import Run

_LOOK_SECONDS = 0.2
_LONG_BYTES = 64 * 10**6
"""A log so long takes some seconds to be read."""


def opened_run(location: str | Path) -> "Run":
    """Open a run, and show how far its log is read where that is a long one."""
    from forebay import open_run

    with log_shown(location) as read:
        return open_run(location, on_read=read)


@contextlib.contextmanager
def log_shown(location: str | Path) -> Iterator[Callable[[int, int], None]]:
    """Give what is to be told how far the log of a run is read, and shows it if that is long."""
    with contextlib.ExitStack() as shown:
        told = None

        def read(done: int, total: int) -> None:
            nonlocal told
            if total < _LONG_BYTES:
                return
            if told is None:
                bars = shown.enter_context(progress("MB of its log"))
                task = bars.add_task(f"opening {location}", total=total // 10**6, note="")
                told = bars, task
            bars, task = told
            bars.update(task, completed=done // 10**6)

        yield read


def opened_once_made(location: str | Path, stop: threading.Event) -> "Run":
    """Open a run; wait for its folder where it is not there yet.

    Raises
    ------
    JobInterruptedError
        If `stop` is set before that.
    """
    path = None if isinstance(location, str) else location
    if path is not None and not path.exists():
        typer.echo(f"waiting for the run {path} to be made", err=True)
        while not path.exists() and not stop.wait(_LOOK_SECONDS):
            pass
        if stop.is_set():
            from forebay.engine.errors import JobInterruptedError

            raise JobInterruptedError(f"stopped before there was a run {path}; nothing was done")
    return opened_run(location)
