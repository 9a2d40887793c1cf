"""Whether somebody still writes a run in a bucket, where no lock tells."""

import threading
from typing import TYPE_CHECKING

from forebay.acquisition.errors import RunLockedError, RunNotFoundError
from forebay.acquisition.run.reader import Run, open_run

if TYPE_CHECKING:
    from zarr.abc.store import Store

_LEAST_SECONDS = 3.0
_MOST_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_BLOCKS = 2
"""Blocks that a writer would have committed meanwhile."""


def check_quiet(store: "Store", *, cancelled: threading.Event | None = None) -> None:
    """Watch the log of an open run for as long as its writer took for two blocks, 3 s to a minute.

    Parameters
    ----------
    store
        Zarr store whose root is the run.
    cancelled
        Ends the waiting when it is set.

    Raises
    ------
    RunLockedError
        If the log grows, so that somebody writes it; or if the waiting was ended.
    RunDamagedError
        If the log has changed.
    """
    cancelled = cancelled or threading.Event()
    try:
        run = open_run(store)
    except RunNotFoundError:
        # Whoever made it may have died before it could be seen; taking it over tells.
        return
    if run.closed:
        return
    looks = round(_seconds_to_watch(run) / _LOOK_SECONDS)
    for _ in range(looks):
        if cancelled.wait(_LOOK_SECONDS):
            raise RunLockedError(f"{run.location} was left to its writer, if it has one")
        if run.refresh().history.log_objects != run.history.log_objects:
            raise RunLockedError(
                f"{run.location} is being written: its log has just grown; stop that writer first"
            )


def _seconds_to_watch(run: Run) -> float:
    if not run.blocks:
        return _LEAST_SECONDS
    last = run.blocks[-1]
    first, latest = last.timestamps
    frames = max(1, len(last.extent) - 1)
    took = (latest - first) / 1e9 * run.layout.frames_per_block / frames
    return min(_MOST_SECONDS, max(_LEAST_SECONDS, _BLOCKS * took))
