"""A run that is still to be made: waiting for it."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from forebay.acquisition import Run

_LOOK_SECONDS = 0.2


def opened_once_made(location: str | Path, stop: threading.Event) -> "Run":
    """Open a run; wait for its folder where it is not there yet.

    Raises
    ------
    JobInterruptedError
        If `stop` is set before that.
    """
    from forebay import open_run

    path = None if isinstance(location, str) else location
    if path is not None and not path.exists():
        typer.echo(f"waiting for the run {path} to be made", err=True)
        while not path.exists() and not stop.wait(_LOOK_SECONDS):
            pass
        if stop.is_set():
            from forebay.engine.errors import JobInterruptedError

            raise JobInterruptedError(f"stopped before there was a run {path}; nothing was done")
    return open_run(location)
