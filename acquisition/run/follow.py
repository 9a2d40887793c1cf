"""Following a run while it grows."""

import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import watchfiles

from forebay.acquisition.control import ClosedEvent, CommittedEvent, ControlClient
from forebay.acquisition.errors import ControlError, RunNotFoundError
from forebay.acquisition.format.layout import LOG
from forebay.acquisition.run.reader import Run

_log = logging.getLogger("forebay.acquisition")

_STEP_MILLISECONDS = 5
_RECHECK_SECONDS = 2.0
_RELEASE_SECONDS = 0.5
_RELEASE_LOOKS = 25


@dataclass(frozen=True, slots=True)
class _Durable:
    """What the writer says is durable; more than that may stand in its log."""

    blocks: int
    closed: bool = False

    def covers(self, run: Run) -> bool:
        return self.closed or (len(run.history.blocks) <= self.blocks and not run.closed)


def follow(run: Run, *, stop: threading.Event | None = None) -> Iterator[Run]:
    """Yield a run now and each time that it has grown, until it is closed or `stop` is set.

    An acquisition of this user on this machine announces what it has committed, and a block that
    it announces is durable.  Where nobody announces anything, the writer's flush of its log wakes
    the follower; should the system not tell of that either, as on a network file system or where
    all its watches are taken, the log is looked at every two seconds.

    Parameters
    ----------
    run
        The run to follow.
    stop
        Ends the waiting when it is set; without it, Ctrl-C does.

    Yields
    ------
    Run
        The run as it is then, opened anew: those that were yielded before stay as they were.

    Raises
    ------
    RunNotFoundError
        If it is no opened run, such as its path.
    RunDamagedError
        If the log changes in any other way than by growing.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from forebay.acquisition import Frame, Geometry, RunWriter, follow, open_run
    >>> geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunWriter.create(f"{folder}/sample", geometry, frames_per_block=2) as writer:
    ...         growing = follow(open_run(f"{folder}/sample"))
    ...         empty = next(growing)
    ...         for counter in range(2):
    ...             _ = writer.append(Frame(counter, counter, np.zeros((4, 6), "uint16")))
    ...     for run in growing:
    ...         print(len(empty.blocks), len(run.blocks), run.closed)
    0 1 True
    """
    if not isinstance(run, Run):
        raise RunNotFoundError(f"{run!r} is not an opened run: open it with open_run")
    stop = stop or threading.Event()
    yield run
    if run.closed or stop.is_set():
        return
    told = False
    latest = run
    for durable in _changes(run, stop):
        if durable is not None and not durable.covers(latest):
            # The log was read ahead of the announcements, which will come to that.
            continue
        # Asked before the log is read: a writer that has closed the run in between is no news.
        alone = durable is None and run.path is not None and run.writer is None
        ahead, latest = latest, latest.refresh()
        if alone and not latest.closed and not told:
            told = True
            _log.warning(
                "%s is open, and nobody is writing it: if its writer has died, "
                "'forebay runs close' ends it",
                run.location,
            )
        for seen in (latest,) if durable is None else (ahead, latest):
            grown = seen.history.frames > run.history.frames or seen.closed
            if grown and (durable is None or durable.covers(seen)):
                run = seen
                yield run
                if run.closed:
                    return
        if stop.is_set():
            return


def _changes(run: Run, stop: threading.Event) -> Iterator[_Durable | None]:
    """Yield what is durable when that changes, or None when the log may have grown.

    The first time is at once.
    """
    yield None
    yield from _announced(run, stop)
    with closing(_watched(run, stop)) as changes:
        for _ in changes:
            yield None
            # The run may have got a writer that announces.
            yield from _announced(run, stop)


def _announced(run: Run, stop: threading.Event) -> Iterator[_Durable | None]:
    """Yield what the writer announces, as long as it does, and None when it is gone."""
    if run.writer is None:
        return
    try:
        writer = ControlClient(run.run_id)
    except ControlError:
        return
    blocks = 0
    with writer:
        try:
            for event in writer.events(stop):
                match event:
                    case CommittedEvent():
                        blocks = event.blocks
                        yield _Durable(blocks)
                    case ClosedEvent():
                        yield _Durable(blocks, closed=True)
        except ControlError as error:
            _log.info("the log of %s is watched from now on: %s", run.location, error)
            yield None
            yield from _released(run, stop)


def _released(run: Run, stop: threading.Event) -> Iterator[None]:
    """Yield once the writer that has gone silent has let go of the run, if it does so at once.

    Of a process that is killed the system closes one file after the other.
    """
    for _ in range(_RELEASE_LOOKS):
        if run.writer is None:
            yield None
            return
        if stop.wait(_RELEASE_SECONDS / _RELEASE_LOOKS):
            return


def _watched(run: Run, stop: threading.Event) -> Generator[object]:
    """Yield whenever the log has changed, and every two seconds."""
    if run.path is not None:
        try:
            # What is committed between the last look and the watch being set up is seen by the
            # empty change that `yield_on_timeout` gives.
            yield from watchfiles.watch(
                run.path / LOG,
                stop_event=stop,
                step=_STEP_MILLISECONDS,
                debounce=_STEP_MILLISECONDS * 4,
                rust_timeout=int(_RECHECK_SECONDS * 1000),
                yield_on_timeout=True,
                watch_filter=None,
            )
        except OSError as error:
            _log.warning("cannot watch the log, looking at it instead: %s", error)
    while not stop.wait(_RECHECK_SECONDS):
        yield None
