"""Taking over a run whose writer is gone."""

import contextlib
import logging
import os
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.arguments import check_clock
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import RunDamagedError, RunExistsError, StorageError
from forebay.acquisition.format import layout
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.format.record import Block, Dropped
from forebay.acquisition.journal.reading import read_journal
from forebay.acquisition.run.lock import WriterLock
from forebay.acquisition.run.reader import Run, open_run
from forebay.acquisition.run.recovery.uncommitted import stored_blocks, uncommitted_blocks
from forebay.acquisition.run.writing.account import NOT_DELIVERED, NOT_RECORDED
from forebay.acquisition.run.writing.create import next_line, opening_line
from forebay.acquisition.run.writing.folder import quarantine, show
from forebay.acquisition.run.writing.leftovers import remove_after_end
from forebay.acquisition.run.writing.position import Position
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.storage.folder import FolderStorage

_log = logging.getLogger("forebay.acquisition")


def resume_run(
    path: str | os.PathLike[str],
    *,
    known: Run | None = None,
    clock: Clock,
    take_over: bool = False,
    direct: bool = False,
    show_every: float = 0.0,
    usual_gap: str = NOT_DELIVERED,
) -> WritableRun:
    """Become the writer of a run whose writer is gone, behind its last block.

    Whole blocks that the earlier writer had stored and not committed are committed; what else it
    left behind goes to the quarantine.  What lies in its journal is left to `leftovers`; that of a run
    that it had closed is removed.

    Parameters
    ----------
    path
        Folder of the run.
    known
        The run, where it was opened already: the log of a long one takes its time to be read.
    clock
        Source of the times in the log.
    take_over
        Whether to take the run from a writer that is still there and cannot be stopped.  What it
        commits from then on is void, and it ends with `RunTakenOverError` when it tries.
    direct
        Whether frames are written past the page cache where that can be done.
    show_every
        Seconds between two times that the arrays are shown while the run grows.
    usual_gap
        Why counters are missing between frames that come from now on.

    Raises
    ------
    RunNotFoundError
        If there is no run at `path`.
    RunLockedError
        If its writer is still there, and it is not to be taken over.
    RunExistsError
        If the run is closed, so that nothing can be added.
    RunDamagedError
        If its log has changed.
    StorageError
        If the folder cannot be written.
    """
    check_clock(clock)
    path = Path(path).absolute()
    known = open_run(path) if known is None else known
    if known.history.log_objects is not None:
        raise StorageError(
            f"cannot write the run {path}: its log is a row of objects, as in a bucket; copy the "
            "run to a bucket and go on there"
        )
    with durable.storage_errors(f"the run {path}"):
        hold = WriterLock.seize if take_over else WriterLock
        lock = hold(path / layout.LOCK, run=path)
        try:
            run = known.refresh()
            at = Position.after(run.history)
            left = stored_blocks(path, run.layout, first=at.blocks)
            adopted = [] if run.closed else _adopted(path, run, at, left, clock)
            _put_aside(path, run, left[len(adopted) :])
            if run.closed:
                show(path, run.layout, at.frames)
                remove_after_end(path, run.notes, run.layout)
                raise RunExistsError(
                    f"{path} is closed and whole: nothing is appended to it any more"
                )
            _begin_log(path, run, at, adopted, clock)
            show(path, run.layout, at.frames)
            storage = FolderStorage(path, epoch=at.epoch, direct=direct, seized=take_over)
        except BaseException:
            lock.release()
            raise
    return WritableRun(
        run.layout,
        storage,
        at,
        clock,
        gap=NOT_RECORDED,
        usual_gap=usual_gap,
        release=lock.release,
        show_every=show_every,
    )


def _adopted(path: Path, run: Run, at: Position, left: list[int], clock: Clock) -> list[Block]:
    """Return the blocks that the earlier writer stored and did not live to commit."""
    following = at.next_counter
    after = None if following is None else following - 1
    known: list[Dropped] = []
    # A journal that is damaged is dealt with when its frames are read.
    with contextlib.suppress(RunDamagedError):
        for entry in read_journal(path / layout.JOURNAL, run_id=run.run_id, after=after):
            if isinstance(entry, Dropped):
                known.append(entry)
    now = clock.time_ns()
    adopted = uncommitted_blocks(path, run.layout, at, left, now=now, known=known)
    for block in adopted:
        _log.warning(
            "a block that was stored and not committed is taken in",
            extra={"run": run.name, "block": block.number},
        )
    return adopted


def _put_aside(path: Path, run: Run, left: list[int]) -> None:
    quarantine(path, run.layout, blocks=left, epoch=run.history.epoch)


def _begin_log(path: Path, run: Run, at: Position, adopted: list[Block], clock: Clock) -> None:
    """Write the new writer's log, with the blocks that it takes in; this is what commits them."""
    # A line that the earlier writer wrote and did not live to flush is read like any other; it
    # must be as durable as they before the next log builds on it.
    durable.flush_file(path / log_key(run.history.epoch))
    lines = [opening_line(run.layout, at, run.history.log_bytes, clock)]
    for block in adopted:
        lines.append(next_line(block, at))
        at.add(block)
        at.dropped += sum(each.count for each in block.dropped)
        at.next_counter = block.frame_ids[1] + 1
    durable.write_aside(path / layout.ASIDE / "log", lines)
    durable.publish(path / layout.ASIDE / "log", path / log_key(at.epoch))
