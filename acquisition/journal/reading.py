"""Reading a journal whose writer is gone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame, FrameFlag
from forebay.acquisition.journal.folder import segments_of
from forebay.acquisition.journal.records import Kind, RecordHeader, decode_dropped
from forebay.acquisition.journal.segment_reader import SegmentReader


def read_journal(
    folder: str | Path, *, run_id: str, after: int | None = None
) -> Iterator[Frame | Dropped]:
    """Yield what a journal holds, in the order of the counters, and nothing twice.

    What a writer was at when it died is no record: the journal of its epoch ends before it.

    Parameters
    ----------
    folder
        Where the segments are; there may be none.
    run_id
        The run that they must belong to.
    after
        The last counter that is committed; what is not above it is left out.

    Raises
    ------
    RunDamagedError
        If what had been made durable has changed.  What was before it has been yielded.
    StorageError
        If the storage does not give it.
    """
    last = -1 if after is None else after
    for paths in segments_of(Path(folder)).values():
        for segment in with_next(paths):
            for entry in read_segment(*segment, run_id=run_id, after=last):
                yield entry
                last = last_of(entry)


def read_segment(
    path: Path, next_path: Path | None, *, run_id: str, after: int
) -> Iterator[Frame | Dropped]:
    """Yield what a segment holds above a counter.

    Parameters
    ----------
    path
        The segment.
    next_path
        The one behind it, if there is one.
    run_id
        The run that it must belong to.
    after
        What is not above this counter is left out.

    Raises
    ------
    RunDamagedError, StorageError
        As for `read_journal`.
    """
    with SegmentReader(path, run_id=run_id) as reader:
        yield from _entries(reader, after=after)
        reader.check_end(following=first_record(next_path, run_id))


def last_of(entry: Frame | Dropped) -> int:
    """Return the last counter of an entry."""
    return entry.last if isinstance(entry, Dropped) else entry.counter


def _entries(reader: SegmentReader, *, after: int) -> Iterator[Frame | Dropped]:
    """Yield the records of a segment that are above a counter, as far as they are sound."""
    while record := reader.peek():
        if record.kind == Kind.FRAME and record.counter <= after:
            reader.skip(record)
            continue
        read: Callable[..., Frame | Dropped | None]
        read = read_frame if record.kind == Kind.FRAME else read_dropped
        entry = read(reader, record)
        if entry is None:
            return
        if isinstance(entry, Frame):
            yield entry
        elif entry.last > after:
            yield replace(entry, first=max(entry.first, after + 1))


def read_frame(reader: SegmentReader, record: RecordHeader) -> Frame | None:
    """Return the frame of a record, or None where its pixels have changed."""
    geometry = reader.header.geometry
    pixels = np.empty(geometry.shape, geometry.dtype.newbyteorder("<"))
    if not reader.read(record, memoryview(pixels.reshape(-1).view(np.uint8))):
        return None
    return Frame(record.counter, record.timestamp, pixels, FrameFlag(record.flags))


def read_dropped(reader: SegmentReader, record: RecordHeader) -> Dropped | None:
    """Return the dropped frames of a record, or None where it has changed."""
    payload = bytearray(record.length)
    return decode_dropped(record, payload) if reader.read(record, payload) else None


def with_next(paths: Sequence[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Yield each segment of an epoch, and the one behind it."""
    following: list[Path | None] = [*paths[1:], None]
    return zip(paths, following, strict=True)


def first_record(path: Path | None, run_id: str) -> int | None:
    """Return the number of the first record of a segment, if there is one."""
    if path is None:
        return None
    with SegmentReader(path, run_id=run_id) as reader:
        return reader.header.first_record
