"""Taking over a run whose writer is gone."""

import os
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import RunExistsError
from forebay.acquisition.format import layout
from forebay.acquisition.format.history import log_key
from forebay.acquisition.run.account import NOT_RECORDED
from forebay.acquisition.run.create import opening_line
from forebay.acquisition.run.folder import quarantine, show
from forebay.acquisition.run.lock import WriterLock
from forebay.acquisition.run.position import Position
from forebay.acquisition.run.reader import open_run
from forebay.acquisition.run.writable import WritableRun
from forebay.acquisition.storage.folder import FolderStorage


def resume_run(
    path: str | os.PathLike[str], *, clock: Clock, direct: bool = False, show_every: float = 0.0
) -> WritableRun:
    """Become the writer of a run whose writer is gone, behind its last committed block.

    Parameters
    ----------
    path
        Folder of the run.
    clock
        Source of the times in the log.
    direct
        Whether frames are written past the page cache where that can be done.
    show_every
        Seconds between two times that the arrays are shown while the run grows.

    Raises
    ------
    RunNotFoundError
        If there is no run at `path`.
    RunLockedError
        If its writer is still there.
    RunExistsError
        If the run is closed, so that nothing can be added.
    RunDamagedError
        If its log has changed.
    StorageError
        If the folder cannot be written.
    """
    path = Path(path).absolute()
    open_run(path)
    with durable.storage_errors(f"the run {path}"):
        lock = WriterLock(path / layout.LOCK, run=path)
        try:
            run = open_run(path)
            history, at = run.history, Position.after(run.history)
            quarantine(path, run.layout, blocks=[at.blocks], epoch=history.epoch)
            if history.closed:
                show(path, run.layout, at.frames)
                raise RunExistsError(f"{path} is closed and whole: start another run")
            # A line that the earlier writer wrote and did not live to flush is read like any
            # other; it must be as durable as they before the next log builds on it.
            durable.flush_file(path / log_key(history.epoch))
            first = opening_line(run.layout, at, history.log_bytes, clock)
            durable.write_aside(path / layout.ASIDE / "log", [first])
            durable.publish(path / layout.ASIDE / "log", path / log_key(at.epoch))
            show(path, run.layout, at.frames)
            storage = FolderStorage(path, epoch=at.epoch, direct=direct)
        except BaseException:
            lock.release()
            raise
    return WritableRun(
        run.layout,
        storage,
        at,
        clock,
        gap=NOT_RECORDED,
        release=lock.release,
        show_every=show_every,
    )
