"""Where a queue on disk is read: first what earlier writers left, then what is being written."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from forebay.acquisition.errors import RunDamagedError, StorageError
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.records import Kind, RecordHeader, segment_name
from forebay.acquisition.journal.segment_reader import SegmentReader
from forebay.acquisition.journal.survey import Surveyed


class SpillCursor:
    """Goes from record to record through the segments of a folder.

    Parameters
    ----------
    folder
        Where the segments are.
    run_id
        The run that they belong to.
    epoch
        The epoch that is being written.
    journal
        What writes it.
    earlier
        The segments of earlier epochs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        epoch: int,
        journal: FrameJournal,
        earlier: Sequence[Surveyed],
    ) -> None:
        self._folder = folder
        self._run_id = run_id
        self._epoch = epoch
        self._journal = journal
        self._earlier = deque(earlier)
        self._reader: SegmentReader | None = None

    def next(self) -> tuple[SegmentReader, RecordHeader] | None:
        """Return the next record and the reader that stands before it; None where there is none.

        Raises
        ------
        RunDamagedError
            If there was one and it cannot be read; the next call goes on behind it.
        """
        while self._earlier:
            if found := self._next_of(self._earlier[0]):
                return found
            damage = self._earlier.popleft().damage
            self.close()
            if damage:
                raise damage
        return self._next_written()

    def count_frames(self, *, after: int) -> tuple[int, int]:
        """Count the frames that can still be read, by their heads alone.

        Parameters
        ----------
        after
            Frames with a counter up to this one are not counted.

        Returns
        -------
        waiting : int
            Frames that can be read.
        added : int
            Frames that had been added to the journal when it was counted.
        """
        records, added = self._journal.counts()
        if not self._earlier:
            heads = self._heads_written(records)
            return sum(_is_frame(each, after) for each in heads), added
        first, *others = self._earlier
        waiting = sum(each.frames for each in others) + added
        if self._reader is None:
            return waiting + first.frames, added
        heads = self._reader.heads(below=first.end)
        return waiting + sum(_is_frame(each, after) for each in heads), added

    def close(self) -> None:
        """Close the segment that is read."""
        if self._reader:
            self._reader.close()
            self._reader = None

    def _next_of(self, surveyed: Surveyed) -> tuple[SegmentReader, RecordHeader] | None:
        """Return the next record of an earlier writer's segment, None behind the last one."""
        if not surveyed.end:
            return None
        if self._reader is None:
            self._reader = SegmentReader(surveyed.written.path, run_id=self._run_id)
        reader = self._reader
        if reader.number >= surveyed.end:
            return None
        if record := reader.peek():
            return reader, record
        number = reader.number
        if not reader.find_next(below=surveyed.end):
            reader.give_up_to(surveyed.end)
        raise self._damage(number, reader.number)

    def _next_written(self) -> tuple[SegmentReader, RecordHeader] | None:
        """Return the next record of what is being written, None behind the last one."""
        records, _ = self._journal.counts()
        if records == (self._reader.number if self._reader else 0):
            return None
        reader = self._reader = self._reader or self._segment(0)
        if record := reader.peek():
            return reader, record
        number, following = reader.number, self._following(reader)
        end = following.number if following else records
        if number < end and not reader.find_next(below=end):
            reader.give_up_to(end)
        reached = reader.number
        if following and reached == end:
            self.close()
            self._reader = following
        elif following:
            following.close()
        if reached > number:
            raise self._damage(number, reached)
        return self._next_written()

    def _heads_written(self, records: int) -> Iterator[RecordHeader]:
        """Yield the heads of what is being written, from here on."""
        reader = self._reader or (self._segment(0) if records else None)
        while reader:
            yield from reader.heads(below=records)
            following = self._following(reader)
            if reader is not self._reader:
                reader.close()
            reader = following

    def _following(self, reader: SegmentReader) -> SegmentReader | None:
        """Return the segment behind one that is or was being written, if there is one."""
        number = reader.header.number + 1
        path = self._folder / segment_name(self._epoch, number)
        return self._segment(number) if path.exists() else None

    def _segment(self, number: int) -> SegmentReader:
        path = self._folder / segment_name(self._epoch, number)
        try:
            return SegmentReader(path, run_id=self._run_id)
        except RunDamagedError as error:
            # It was written a moment ago: a device that does so keeps nothing.
            raise StorageError(f"{error}; check the device before going on") from error

    def _damage(self, first: int, following: int) -> RunDamagedError:
        return RunDamagedError(
            f"{self._folder}: {following - first} records from number {first} on have changed "
            "since they were written; what they held is lost: check the device"
        )


def _is_frame(record: RecordHeader, after: int) -> bool:
    return record.kind == Kind.FRAME and record.counter > after
