"""What a writer that died had stored and not committed: which of it can still be committed."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout
from forebay.acquisition.format.record import Block, Dropped
from forebay.acquisition.run.recovery.missing import missing_before_each
from forebay.acquisition.run.recovery.stored import read_stored_block
from forebay.acquisition.run.writing.position import Position

NOT_KNOWN_WHY = (
    "it is not in a block that an earlier writer stored; that one died before it said why"
)

_log = logging.getLogger("forebay.acquisition")

_CHUNK = re.compile(r"c\.(\d+)", flags=re.ASCII)


def uncommitted_blocks(
    path: Path,
    run: RunLayout,
    at: Position,
    left: Sequence[int],
    *,
    now: int,
    known: Sequence[Dropped] = (),
) -> list[Block]:
    """Return records of the blocks that can be committed behind the last one of the log.

    A block can be if all its objects are there, every checksum in them is right, it is whole, and
    its counters are above those before it; and if the block before it can be.  A short block never
    can: only the end of the run commits one.

    Parameters
    ----------
    path
        Folder of the run, whose writer is gone.
    run
        What its blocks have in common.
    at
        How far its log has come; it is not changed.
    left
        The numbers of the blocks behind that which were stored, see `stored_blocks`.
    now
        The time, in nanoseconds since 1970-01-01 UTC.
    known
        What is known to have been dropped, from the journal, in order.

    Returns
    -------
    list of Block
        In order, durable.  The counters that are missing between their frames are written down
        as dropped.
    """
    found: list[Block] = []
    following = at.next_counter
    # The camera's first counter is in the log before any block is stored.
    while following is not None and at.blocks + len(found) in left:
        try:
            stored = read_stored_block(path, run, at.blocks + len(found))
        except RunDamagedError as error:
            _log.warning("a stored block cannot be committed: %s", error, extra={"run": run.name})
            break
        counters = [int(each) for each in stored.frame_ids]
        if len(stored) != run.frames_per_block or counters[0] < following:
            break
        dropped = missing_before_each(
            counters, following=following, known=known, reason=NOT_KNOWN_WHY, at=now
        )
        found.append(stored.record(run, dropped))
        following = counters[-1] + 1
    if found:
        # The one who stored them may have died before their names were durable.
        for array in (*COORDINATES, FRAMES):
            durable.flush_folder(path / array)
    return found


def stored_blocks(path: Path, run: RunLayout, *, first: int = 0) -> list[int]:
    """Return the numbers of the blocks of which at least one object lies in its place, sorted.

    Those before the block `first` are left out, and nothing is kept of them: there may be millions.
    """
    found: set[int] = set()
    for array in (*COORDINATES, FRAMES):
        if not (path / array).is_dir():
            continue
        with os.scandir(path / array) as entries:
            for entry in entries:
                name = _CHUNK.match(entry.name)
                if name is None or (number := int(name[1])) < first:
                    continue
                if f"{array}/{entry.name}" == run.object_key(array, number):
                    found.add(number)
    return sorted(found)
