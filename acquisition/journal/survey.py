"""What an earlier writer has left in its segments, found by reading all of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.journal.folder import segments_of
from forebay.acquisition.journal.reading import first_record, read_dropped, with_next
from forebay.acquisition.journal.records import Kind
from forebay.acquisition.journal.row import Written
from forebay.acquisition.journal.segment_reader import SegmentReader


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A segment, and how much of it can be read."""

    written: Written
    """The segment."""
    end: int
    """Number of the record behind the last sound one; 0 where there is none."""
    frames: int
    """Frames above the counter that was given."""
    damage: RunDamagedError | None
    """What is wrong with it, or behind its sound records; None where nothing is."""
    epoch: int
    """Number of its writer."""


def survey(folder: Path, *, run_id: str, geometry: Geometry, after: int) -> list[Surveyed]:
    """Read the segments in a folder, in order.

    Parameters
    ----------
    folder
        Where they are.
    run_id
        The run that they must belong to.
    geometry
        The layout that their frames must have.
    after
        Frames with a counter up to this one are not counted.

    Raises
    ------
    StorageError
        If the storage does not give them.
    """
    found = []
    for epoch, paths in segments_of(folder).items():
        for path, next_path in with_next(paths):
            found.append(_survey(path, next_path, run_id, geometry, after, epoch))
    return found


def sound(found: Iterable[Surveyed]) -> Iterator[Surveyed]:
    """Yield the segments of each epoch as far as they are read: to the first that is damaged."""
    damaged = None
    for each in found:
        if each.epoch != damaged:
            yield each
            damaged = each.epoch if each.damage else None


def _survey(
    path: Path, next_path: Path | None, run_id: str, geometry: Geometry, after: int, epoch: int
) -> Surveyed:
    end = frames = 0
    last_counter, damage = -1, None
    pixels = np.empty(geometry.frame_bytes, np.uint8)
    try:
        with SegmentReader(path, run_id=run_id) as reader:
            if reader.header.geometry != geometry:
                raise RunDamagedError(f"{path} holds {reader.header.geometry}, not {geometry}")
            while record := reader.peek():
                if record.kind == Kind.FRAME:
                    if not reader.read(record, pixels):
                        break
                    last_counter = record.counter
                    frames += record.counter > after
                elif dropped := read_dropped(reader, record):
                    last_counter = dropped.last
                else:
                    break
            end = reader.number
            reader.check_end(following=first_record(next_path, run_id))
    except RunDamagedError as error:
        damage = error
    written = Written(path, last_counter, path.stat().st_size)
    return Surveyed(written, end, frames, damage, epoch)
