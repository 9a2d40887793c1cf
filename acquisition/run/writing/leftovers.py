"""Frames that a writer that is gone had not committed: in its journal, and where it spilled to."""

import heapq
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from forebay.acquisition import durable
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import JOURNAL, QUARANTINE, RunLayout
from forebay.acquisition.format.record import Dropped, Noted
from forebay.acquisition.frames import Frame
from forebay.acquisition.journal.folder import remove_journal, segments_of
from forebay.acquisition.journal.reading import last_of, read_segment, with_next
from forebay.acquisition.run.writing.account import NOT_RECORDED, Account

_log = logging.getLogger("forebay.acquisition")

SPILL_TOPIC = "spill"
"""Topic of the note that says where frames are spilled to."""

DAMAGED = "it was damaged where it was kept until it would be committed"


def spill_folders(notes: Iterable[Noted], run: RunLayout) -> tuple[Path, ...]:
    """Return the folders in which there are spilled frames, each once.

    There are several where a run was taken up with another one, and that writer died as well.
    """
    named = _named(notes, run)
    there = [each for each in dict.fromkeys(named) if each.is_dir()]
    if named and named[-1] not in there:
        # A writer's folder is removed when the run is closed, and not before.
        _log.error(
            "%s, where frames of %s were spilled to, is not there: what it held and is not committed "
            "is written down as lost",
            named[-1],
            run.name,
        )
    return tuple(dict.fromkeys(each.resolve() for each in there))


def remove_after_end(path: Path, notes: Iterable[Noted], run: RunLayout) -> None:
    """Remove what the writer of a closed run has left, that died before it had removed it."""
    remove_leftovers(path, _named(notes, run))  # Those that are gone are passed over.


def _named(notes: Iterable[Noted], run: RunLayout) -> list[Path]:
    return [Path(note.text) / run.run_id for note in notes if note.topic == SPILL_TOPIC]


def leftovers(
    path: Path | None,
    run: RunLayout,
    account: Account,
    *,
    spilled: Sequence[Path],
    clock: Clock,
) -> Iterator[Frame | Dropped]:
    """Yield what is left, in the order of the counters, as it is to be recorded.

    Parameters
    ----------
    path
        Folder of the run; None where it lies in a bucket, and has no journal.
    run
        What its blocks have in common.
    account
        Its counters: what is above those that have come is yielded, and each is to be taken before
        the next one.
    spilled
        Folders of the spilled frames; none where there are none, or they are read otherwise.
    clock
        Source of times.

    Where something has changed, what its writer put before it is yielded, and the rest is kept in
    the quarantine: that of the run, or one beside what was spilled.
    """
    last = -1 if account.next_counter is None else account.next_counter - 1
    if path is not None:
        for entry in _sound(path / JOURNAL, path, run.run_id, last, account):
            last = last_of(entry)
            yield entry
    # Frames are spilled as they came, before they are reduced.
    reduction = run.provenance.get("reduction")
    chain = None
    if reduction:
        from forebay.acquisition.reduction import chain_from

        chain = chain_from(reduction)
    each_folder = [
        _sound(folder, path or folder.parent, run.run_id, last, account) for folder in spilled
    ]
    for entry in heapq.merge(*each_folder, key=_counter):
        if chain is None or isinstance(entry, Dropped):
            yield entry
            continue
        out = np.empty(run.geometry.shape, run.geometry.dtype.newbyteorder("<"))
        if chain.apply(entry.data, out):
            yield Frame(entry.counter, entry.timestamp, out, entry.flags)
        else:
            reason = chain.reason or "the reduction left it out"
            yield Dropped(entry.counter, entry.counter, reason, clock.time_ns())
    # What lies between these and the frames to come was never theirs.
    account.explain_gap(NOT_RECORDED)


def _counter(entry: Frame | Dropped) -> int:
    return entry.first if isinstance(entry, Dropped) else entry.counter


def _sound(
    folder: Path, beside: Path, run_id: str, after: int, account: Account
) -> Iterator[Frame | Dropped]:
    """Yield what each writer has left in a folder, as far as it is sound."""
    for paths in segments_of(folder).values():
        for number, segment in enumerate(with_next(paths)):
            try:
                for entry in read_segment(*segment, run_id=run_id, after=after):
                    yield entry
                    after = last_of(entry)
            except RunDamagedError as error:
                _log.error("%s; what is behind it is lost, and kept in the quarantine", error)
                account.explain_gap(DAMAGED)
                _keep(paths[number:], beside / QUARANTINE / f"journal-{folder.name}")
                break


def _keep(segments: Iterable[Path], quarantine: Path) -> None:
    """Keep segments in the quarantine, and where they are: their frames are not committed yet."""
    durable.make_folders(quarantine)
    for segment in segments:
        kept = quarantine / segment.name
        if kept.exists():
            continue
        try:
            kept.hardlink_to(segment)
        except OSError:
            # It is another disk.
            shutil.copyfile(segment, kept)
            durable.flush_file(kept)
    durable.flush_folder(quarantine)


def remove_leftovers(path: Path | None, spilled: Sequence[Path]) -> None:
    """Remove the journal and what was spilled: all of it is in the run."""
    for folder in (*([path / JOURNAL] if path else []), *spilled):
        if folder.is_dir():
            remove_journal(folder)
