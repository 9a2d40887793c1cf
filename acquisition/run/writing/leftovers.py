"""Frames that a writer that is gone had not committed: in its journal, and where it spilled to."""

import logging
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from forebay.acquisition import durable
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import JOURNAL, QUARANTINE, RunLayout
from forebay.acquisition.format.record import Dropped, Noted
from forebay.acquisition.frames import Frame
from forebay.acquisition.journal.folder import remove_journal
from forebay.acquisition.journal.reading import read_journal

_log = logging.getLogger("forebay.acquisition")

SPILL_TOPIC = "spill"
"""Topic of the note that says where frames are spilled to."""


def spill_folder(notes: tuple[Noted, ...], run: RunLayout) -> Path | None:
    """Return the folder of the frames that were spilled, if any were."""
    named = [note.text for note in notes if note.topic == SPILL_TOPIC]
    return Path(named[-1]) / run.run_id if named else None


def leftovers(
    path: Path | None, run: RunLayout, *, after: int | None, spilled: Path | None
) -> Iterator[Frame | Dropped]:
    """Yield what is left, in the order of the counters, as it is to be recorded.

    Parameters
    ----------
    path
        Folder of the run; None where it lies in a bucket, and has no journal.
    run
        What its blocks have in common.
    after
        The last counter that is in the run, or written down as dropped; None where there is none.
    spilled
        Folder of the spilled frames; None where there is none, or they are read otherwise.

    Where something has changed, what was before it is yielded, and the rest is moved to the
    quarantine: that of the run, or one beside what was spilled.
    """
    last = after
    if path is not None:
        for entry in _sound(path, path / JOURNAL, run.run_id, after):
            last = entry.last if isinstance(entry, Dropped) else entry.counter
            yield entry
    if spilled is None or not spilled.is_dir():
        return
    # Frames are spilled as they came, before they are reduced.
    reduction = run.provenance.get("reduction")
    chain = None
    if reduction:
        from forebay.acquisition.reduction import chain_from

        chain = chain_from(reduction)
    for entry in _sound(path or spilled.parent, spilled, run.run_id, last):
        if chain is None or isinstance(entry, Dropped):
            yield entry
            continue
        out = np.empty(run.geometry.shape, run.geometry.dtype.newbyteorder("<"))
        if chain.apply(entry.data, out):
            yield Frame(entry.counter, entry.timestamp, out, entry.flags)
        else:
            reason = chain.reason or "the reduction left it out"
            yield Dropped(entry.counter, entry.counter, reason, entry.timestamp)


def _sound(path: Path, folder: Path, run_id: str, after: int | None) -> Iterator[Frame | Dropped]:
    try:
        yield from read_journal(folder, run_id=run_id, after=after)
    except RunDamagedError as error:
        _log.error("%s; what is behind it is lost, and kept in the quarantine", error)
        quarantine = path / QUARANTINE / f"journal-{uuid.uuid4().hex}"
        durable.make_folders(quarantine.parent)
        shutil.move(folder, quarantine)
        durable.flush_folder(quarantine.parent)


def remove_leftovers(path: Path, spilled: Path | None) -> None:
    """Remove the journal and what was spilled: all of it is in the run."""
    for folder in (path / JOURNAL, spilled):
        if folder is not None and folder.is_dir():
            remove_journal(folder)
