"""Following a run while it grows."""

import logging
import threading
from collections.abc import Iterator

import watchfiles

from forebay.acquisition.format.layout import LOG
from forebay.acquisition.run.reader import Run

_log = logging.getLogger("forebay.acquisition")

_STEP_MILLISECONDS = 5
_RECHECK_SECONDS = 2.0


def follow(run: Run, *, stop: threading.Event) -> Iterator[Run]:
    """Yield a run now and each time that it has grown, until it is closed or `stop` is set.

    The writer's flush of its log wakes the follower.  Should the system not tell of it, as on a
    network file system or where all its watches are taken, the log is looked at every two
    seconds.

    Parameters
    ----------
    run
        The run to follow.
    stop
        Ends the waiting when it is set.

    Raises
    ------
    RunDamagedError
        If the log changes in any other way than by growing.
    """
    yield run
    if run.closed or stop.is_set():
        return
    told = False
    for _ in _changes(run, stop):
        # Asked before the log is read: a writer that has closed the run in between is no news.
        alone = run.path is not None and run.writer is None
        latest = run.refresh()
        if alone and not latest.closed and not told:
            told = True
            _log.warning(
                "%s is open, and nobody is writing it: if its writer has died, "
                "'forebay runs close' ends it",
                run.location,
            )
        if len(latest.blocks) > len(run.blocks) or latest.closed:
            run = latest
            yield run
        if run.closed or stop.is_set():
            return


def _changes(run: Run, stop: threading.Event) -> Iterator[object]:
    """Yield whenever the log may have grown, the first time at once."""
    yield None
    if run.path is not None:
        try:
            # What is committed between the first look and the watch being set up is seen by the
            # empty change that `yield_on_timeout` gives.
            yield from watchfiles.watch(
                run.path / LOG,
                stop_event=stop,
                step=_STEP_MILLISECONDS,
                debounce=_STEP_MILLISECONDS * 4,
                rust_timeout=int(_RECHECK_SECONDS * 1000),
                yield_on_timeout=True,
                watch_filter=None,
                raise_interrupt=False,
            )
        except OSError as error:
            _log.warning("cannot watch the log, looking at it instead: %s", error)
    while not stop.wait(_RECHECK_SECONDS):
        yield None
