"""A segment while it is written: its room is taken at once, its name is given when it is ready."""

import contextlib
import errno
import os
from collections.abc import Buffer, Sequence
from pathlib import Path
from typing import Self

from forebay.acquisition import durable
from forebay.acquisition.errors import RunExistsError
from forebay.acquisition.journal.records import SEGMENT_HEADER_BYTES, SegmentHeader

ASIDE = "aside"
"""Name of a segment that is being made."""

_MOST_PARTS = 1024
_NO_PREALLOCATION = {errno.EINVAL, errno.EOPNOTSUPP}


class SegmentFile:
    """A segment that records are added to.

    Parameters
    ----------
    path
        Its file.
    descriptor
        The open file, which belongs to the segment from now on.
    size
        Bytes that the file may take.
    """

    def __init__(self, path: Path, descriptor: int, *, size: int) -> None:
        self.path = path
        """Its file."""
        self.size = size
        """Bytes that it takes on the storage."""
        # A file object rather than a bare descriptor, so that a forgotten segment is closed.
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._end = SEGMENT_HEADER_BYTES

    @classmethod
    def create(
        cls, folder: Path, header: SegmentHeader, *, size: int, spare: Path | None = None
    ) -> Self:
        """Make a segment, durable with its room and its name before the first record.

        Parameters
        ----------
        folder
            Where it is to be.
        header
            What it says of itself.
        size
            Bytes that it may take.
        spare
            A file of that size whose blocks are taken rather than new ones: they have been
            written, so that a flush has only data to write and nothing of the file system's own.
        """
        aside, path = folder / ASIDE, folder / header.name
        if spare:
            spare.rename(aside)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(aside, flags if spare else flags | os.O_CREAT | os.O_EXCL, 0o644)
        segment = cls(path, descriptor, size=size)
        try:
            if not spare:
                _take_room(descriptor, size)
            os.pwrite(descriptor, header.encode(), 0)
            os.fsync(descriptor)
            durable.publish(aside, path)
        except BaseException as error:
            segment.close()
            for left in (aside,) if isinstance(error, RunExistsError) else (aside, path):
                with contextlib.suppress(OSError):
                    left.unlink()
            raise
        return segment

    @property
    def half_full(self) -> bool:
        """Whether it will soon be full."""
        return self._end > self.size // 2

    def has_room(self, length: int) -> bool:
        """Whether so many bytes can be added."""
        return self._end + length <= self.size

    def add(self, parts: Sequence[Buffer]) -> None:
        """Write parts one behind the other, behind what is there, or nothing of them."""
        begin = self._end
        views = [memoryview(part).cast("B") for part in parts]
        try:
            for first in range(0, len(views), _MOST_PARTS):
                self._write(views[first : first + _MOST_PARTS])
        except OSError:
            self._take_back(begin)
            raise

    def flush(self) -> None:
        """Make what was added durable.

        Raises
        ------
        OSError
            If that fails.  It always tells of the device, for it must not be tried again: what
            the system says of the file after that cannot be believed.
        """
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take_back(self, begin: int) -> None:
        """Cut the segment off, and let nothing be added: nobody shall read a part of an entry."""
        self._end = self.size = begin
        try:
            os.ftruncate(self._file.fileno(), begin)
        except OSError as error:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from error

    def _write(self, views: list[memoryview]) -> None:
        while views:
            written = os.pwritev(self._file.fileno(), views, self._end)
            self._end += written
            while views and written >= views[0].nbytes:
                written -= views.pop(0).nbytes
            if written:
                views[0] = views[0][written:]


def make_spare(path: Path, *, size: int) -> None:
    """Make the room of a segment beforehand, or nothing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    try:
        _take_room(descriptor, size)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _take_room(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _NO_PREALLOCATION:
            raise
