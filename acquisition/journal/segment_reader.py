"""Reading one segment: every record up to where it was torn, and nothing that has changed."""

import contextlib
import os
from collections.abc import Buffer, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from forebay.acquisition.errors import RunDamagedError, StorageError
from forebay.acquisition.journal.records import (
    ALIGNMENT,
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    SEGMENT_HEADER_BYTES,
    RecordHeader,
    SegmentHeader,
    padded,
    payload_checksum,
)

_SEARCHED_AT_A_TIME = 16 * 2**20


class SegmentReader:
    """Reads the records of a segment, one after the other, also while it is written.

    Parameters
    ----------
    path
        The segment.
    run_id
        The run that it must belong to.

    Raises
    ------
    RunDamagedError
        If it is not a segment of that run, or not the one that its name says.
    StorageError
        If the storage does not give it, here or later.
    """

    def __init__(self, path: Path, *, run_id: str) -> None:
        self._path = path
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._reading():
            self._file = os.fdopen(os.open(path, flags), "rb", buffering=0)
        try:
            head = self._read(0, SEGMENT_HEADER_BYTES)
            self.header = SegmentHeader.decode(head, where=str(path))
            """What the segment says of itself."""
            if self.header.run_id != run_id or self.header.name != path.name:
                raise RunDamagedError(f"{path} is a segment of another journal")
        except BaseException:
            self._file.close()
            raise
        self._offset = SEGMENT_HEADER_BYTES
        self.number = self.header.first_record
        """Number of the next record."""

    def peek(self) -> RecordHeader | None:
        """Return the header of the next record, or None where there is none that is sound."""
        record = RecordHeader.decode(self._read(self._offset, RECORD_HEADER_BYTES))
        if record is None or (record.epoch, record.number) != (self.header.epoch, self.number):
            return None
        begin, size = self._offset + RECORD_HEADER_BYTES, os.fstat(self._file.fileno()).st_size
        return record if begin + record.length <= size else None

    def read(self, record: RecordHeader, into: Buffer) -> bool:
        """Read the payload of the record that `peek` gave and move behind it.

        Returns
        -------
        bool
            False if the payload is not what was written: then nothing of `into` may be used, and
            the reader stays where it is.
        """
        target = memoryview(into).cast("B")
        begin = self._offset + RECORD_HEADER_BYTES
        filled = 0
        while filled < record.length:
            count = self._read_into(target[filled:], begin + filled)
            if not count:
                return False
            filled += count
        if payload_checksum(target) != record.checksum:
            return False
        self.skip(record)
        return True

    def skip(self, record: RecordHeader) -> None:
        """Move behind the record that `peek` gave."""
        self._offset += padded(record.length)
        self.number += 1

    def find_next(self, *, below: int) -> bool:
        """Move to the next record whose head is sound, over what cannot be read.

        Parameters
        ----------
        below
            Number of the first record that need not be there yet.

        Returns
        -------
        bool
            False if there is none; then the reader stays where it is.
        """
        for offset, record in self._heads_behind():
            if self.number <= record.number < below:
                self._offset, self.number = offset, record.number
                return True
        return False

    def give_up_to(self, number: int) -> None:
        """Expect the record of that number next, wherever `find_next` will find it."""
        self.number = number

    def heads(self, *, below: int) -> Iterator[RecordHeader]:
        """Yield the sound heads up to a number from here on, and come back here at the end."""
        begin = self._offset, self.number
        while self.number < below and (self.peek() or self.find_next(below=below)):
            if record := self.peek():
                yield record
                self.skip(record)
        self._offset, self.number = begin

    def check_end(self, *, following: int | None) -> None:
        """Make sure that the records end where the reader is, and are not damaged there.

        Parameters
        ----------
        following
            Number of the first record in the next segment of the same writer; None where this is
            its last segment.

        Raises
        ------
        RunDamagedError
            If records that were durable do not follow, or not rightly.
        """
        if self.number == following:
            return
        if following is not None or self._was_flushed():
            raise RunDamagedError(
                f"{self._path}: record {self.number} has changed since it was written, and others "
                "follow it; the frames before it can be read"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Read within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _was_flushed(self) -> bool:
        """Tell whether a later record says that the one which cannot be read was durable.

        A power cut may take any part of what was not: then what follows it proves nothing.
        """
        return any(record.flushed > self.number for _, record in self._heads_behind())

    def _heads_behind(self) -> Iterator[tuple[int, RecordHeader]]:
        """Yield every sound head of this epoch behind this place, and where it is."""
        (magic,) = np.frombuffer(RECORD_MAGIC, "<u4")
        begin = self._offset + ALIGNMENT
        while chunk := self._read(begin, _SEARCHED_AT_A_TIME):
            words = np.frombuffer(chunk[: len(chunk) // 4 * 4], "<u4")[:: ALIGNMENT // 4]
            for place in (int(each) * ALIGNMENT for each in np.flatnonzero(words == magic)):
                record = RecordHeader.decode(chunk[place : place + RECORD_HEADER_BYTES])
                if record and record.epoch == self.header.epoch:
                    yield begin + place, record
            begin += len(chunk)

    def _read(self, offset: int, length: int) -> bytes:
        content = bytearray(length)
        count = self._read_into(memoryview(content), offset)
        return bytes(content[:count])

    def _read_into(self, target: memoryview, offset: int) -> int:
        with self._reading():
            return os.preadv(self._file.fileno(), [target], offset)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot read {self._path} back: {error.strerror}; check the device before going on"
            ) from error
