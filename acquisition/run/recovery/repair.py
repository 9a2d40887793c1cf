"""Making a run readable again whose log is damaged or gone: from what is left of it and the shards."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forebay.acquisition import durable
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import RunDamagedError, RunNotFoundError
from forebay.acquisition.format import layout
from forebay.acquisition.format.layout import METADATA, RunLayout
from forebay.acquisition.format.record import Block, Closed, Dropped, Noted, Record
from forebay.acquisition.run.lock import WriterLock
from forebay.acquisition.run.reader import open_run
from forebay.acquisition.run.recovery.new_log import last_epoch, new_logs
from forebay.acquisition.run.recovery.old_log import OldLog, read_old_log
from forebay.acquisition.run.recovery.rebuild import REASON_LOST, Rebuilding, Rebuilt
from forebay.acquisition.run.recovery.repair_plan import RepairPlan, carry_out, decide, decided_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What repairing a run has found and done."""

    needed: bool
    """Whether there was anything to repair; if not, nothing has changed."""
    frames: int
    """Frames that the run holds."""
    closed: bool
    """Whether it is closed."""
    kept: int = 0
    """Blocks whose line was read and agrees with their objects."""
    rebuilt: tuple[int, ...] = ()
    """Blocks whose line could not be read, and whose objects are sound; by their old numbers."""
    damaged: tuple[str, ...] = ()
    """What is wrong with blocks that are part of the run, for their line was read: their frames
    can be read once the object that is named is restored from a copy."""
    set_aside: tuple[str, ...] = ()
    """What is wrong with blocks that are in the quarantine now."""
    lines_lost: int = 0
    """Lines of the old logs that could not be read."""
    unexplained: int = 0
    """Frames that are written down as dropped, and the reason is not known any more."""
    old_log: str | None = None
    """Where the old logs are, relative to the run; None where there were none."""


def repair_run(
    path: str | os.PathLike[str], *, set_aside: bool = False, clock: Clock = SYSTEM_CLOCK
) -> RepairReport:
    """Rebuild the log of a run from what can be read of it and from the objects of its blocks.

    A block belongs to the repaired run if its old line can be read, or if its objects are sound by
    their own checksums and its counters follow those before it.  A run whose closing line can be
    read stays closed.  The old logs are kept in the quarantine.  The repair may be killed at any
    step; calling this again finishes it.

    Parameters
    ----------
    path
        Folder of the run, which nobody is writing.
    set_aside
        What to do with a block that is damaged.  If False, one whose line can be read stays in the
        log, so that it can be restored from a copy, and the run is left alone if there is one
        whose line cannot be read either.  If True, damaged blocks are moved to the quarantine,
        their counters are written down as dropped, and the blocks behind them move up.
    clock
        Source of times.

    Raises
    ------
    RunNotFoundError
        If there is no run at `path`.
    RunLockedError
        If its writer is still there.
    RunDamagedError
        If it cannot be told what the run is, or a committed block is lost and `set_aside` is
        False; nothing is changed then.
    StorageError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
    >>> geometry = Geometry(dims=("y", "x"), shape=(4, 6), dtype=np.dtype("uint16"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunWriter.create(f"{folder}/sample", geometry, frames_per_block=2) as writer:
    ...         for counter in range(4):
    ...             _ = writer.append(Frame(counter, 0, np.zeros((4, 6), "uint16")))
    ...     log = Path(f"{folder}/sample/_forebay/log/00000001.log")
    ...     lines = log.read_bytes().splitlines(keepends=True)
    ...     _ = log.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    ...     report = repair_run(f"{folder}/sample")
    ...     report.kept, report.rebuilt, report.closed, open_run(f"{folder}/sample").frames.shape
    (1, (0,), True, (4, 4, 6))
    """
    path = Path(path).absolute()
    _check_is_run(path)
    with durable.storage_errors(f"the run {path}"):
        durable.make_folders(path / layout.CONTROL)
        lock = WriterLock(path / layout.LOCK, run=path)
        try:
            plan = decided_plan(path)
            if plan is None:
                if sound := _report_of_a_sound_run(path):
                    return sound
                plan = _plan(path, set_aside=set_aside, now=clock.time_ns())
            carry_out(path, plan)
        finally:
            lock.release()
    lists = ("rebuilt", "damaged", "set_aside")
    return RepairReport(**{**plan.report, **{name: tuple(plan.report[name]) for name in lists}})


def _check_is_run(path: Path) -> None:
    if not (path / layout.CONTROL).is_dir() and _shown_attributes(path) is None:
        raise RunNotFoundError(
            f"{path} is not a run: it has neither {layout.CONTROL} nor the metadata of one; check "
            "the name and the runs folder"
        )


def _report_of_a_sound_run(path: Path) -> RepairReport | None:
    try:
        history = open_run(path).history
    except (RunDamagedError, RunNotFoundError):
        return None
    if history.torn_bytes and not history.closed:
        # The line at which a writer died, or the damaged end of a closed run.
        return None
    return RepairReport(needed=False, frames=history.frames, closed=history.closed is not None)


def _plan(path: Path, *, set_aside: bool, now: int) -> RepairPlan:
    """Decide what is to be done; from here on the repair will be done."""
    old = read_old_log(path)
    attributes = old.created.attributes if old.created else _shown_attributes(path)
    if attributes is None:
        raise RunDamagedError(
            f"{path} cannot be repaired: neither the first line of its log nor {METADATA} says "
            "what the run is; restore one of them from a copy"
        )
    run = RunLayout.from_attributes(attributes, where=str(path))
    rebuilt = Rebuilding(path, run, old, set_aside=set_aside, now=now).rebuild()
    if rebuilt.lost:
        raise RunDamagedError(
            f"{path} cannot be repaired without losing frames: {'; '.join(rebuilt.lost)}; and the "
            "log does not say what was there.  Restore the objects, or the log, from a copy, or "
            "repair the run with the damaged blocks set aside"
        )
    epoch = last_epoch(path, old) + 1
    quarantine = f"{layout.QUARANTINE}/{epoch:08d}"
    moves = [
        (key, f"{quarantine}/{key.replace('/', '.')}" if target is None else target)
        for key, target in rebuilt.moves
    ]
    old_log = f"{quarantine}/log"
    report = _report(path, rebuilt, old, old_log)
    plan = RepairPlan(tuple(moves), old_log, asdict(report))
    records = [*_note(run, report, now), *rebuilt.records]
    decide(path, plan, new_logs(attributes, old, records, epoch=epoch, now=now))
    return plan


def _report(path: Path, rebuilt: Rebuilt, old: OldLog, old_log: str) -> RepairReport:
    last = rebuilt.records[-1] if rebuilt.records else None
    return RepairReport(
        needed=True,
        frames=rebuilt.frames,
        closed=isinstance(last, Closed),
        kept=rebuilt.kept,
        rebuilt=tuple(rebuilt.rebuilt),
        damaged=tuple(rebuilt.damaged),
        set_aside=tuple(rebuilt.set_aside),
        lines_lost=old.lines_lost,
        unexplained=sum(each.count for each in _dropped(rebuilt) if each.reason == REASON_LOST),
        old_log=old_log if (path / layout.LOG).exists() else None,
    )


def _dropped(rebuilt: Rebuilt) -> Iterator[Dropped]:
    for record in rebuilt.records:
        if isinstance(record, Closed) and record.block:
            yield from record.block.dropped
        if isinstance(record, Block | Closed):
            yield from record.dropped


def _note(run: RunLayout, report: RepairReport, now: int) -> list[Record]:
    """Say in the log what was done to it, where its format has room for that."""
    if run.format_version < 2:
        return []
    text = (
        f"the log was rebuilt: {report.lines_lost} lines could not be read; {report.kept} blocks "
        f"agree with their lines, {len(report.rebuilt)} were read from their objects alone, "
        f"{len(report.damaged)} are damaged, {len(report.set_aside)} were set aside"
    )
    return [Noted("repair", text, None, now)]


def _shown_attributes(path: Path) -> Mapping[str, Any] | None:
    """Return what the group's metadata say of the run, if they can be read."""
    try:
        attributes = json.loads((path / METADATA).read_bytes())["attributes"]["forebay"]
    except (FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None
