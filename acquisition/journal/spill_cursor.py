"""Where a queue on disk is read: first what earlier writers left, then what is being written."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.records import RecordHeader, segment_name
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
            If there was one and it cannot be read.  The next call goes on behind it, unless it is
            in what is being written.
        """
        while self._earlier:
            if record := self._next_of(self._earlier[0]):
                return record
            damage = self._earlier.popleft().damage
            self.close()
            if damage:
                raise damage
        return self._next_written()

    def close(self) -> None:
        """Close the segment that is read."""
        if self._reader:
            self._reader.close()
            self._reader = None

    def _next_of(self, surveyed: Surveyed) -> tuple[SegmentReader, RecordHeader] | None:
        """Return the next record of an earlier writer's segment."""
        path = surveyed.written.path
        if not surveyed.end:
            return None
        reader = self._reader = self._reader or SegmentReader(path, run_id=self._run_id)
        if reader.number >= surveyed.end:
            return None
        if record := reader.peek():
            return reader, record
        self._earlier.popleft()
        self.close()
        raise RunDamagedError(f"{path}: record {reader.number} has changed since it was first read")

    def _next_written(self) -> tuple[SegmentReader, RecordHeader] | None:
        """Return the next record of what is being written."""
        number = self._reader.number if self._reader else 0
        if number == self._journal.records:
            return None
        if self._reader is None:
            self._reader = self._segment(0)
        if record := self._reader.peek():
            return self._reader, record
        following = self._segment(self._reader.header.number + 1)
        record = following.peek() if following.number == number else None
        if not record:
            following.close()
            raise RunDamagedError(
                f"{self._folder}: record {number} has changed since it was written; what was "
                "spilled behind it cannot be read while it is being written: recover it later"
            )
        self.close()
        self._reader = following
        return following, record

    def _segment(self, number: int) -> SegmentReader:
        path = self._folder / segment_name(self._epoch, number)
        try:
            return SegmentReader(path, run_id=self._run_id)
        except FileNotFoundError as error:
            raise RunDamagedError(f"{path} is missing: what was spilled to it is lost") from error
