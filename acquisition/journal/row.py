"""The segments of one writer, in a row: how many there may be, and which may go."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from forebay.acquisition import durable
from forebay.acquisition.errors import StorageError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.journal.folder import SPARE, remove_leftovers
from forebay.acquisition.journal.records import SEGMENT_HEADER_BYTES, SegmentHeader, padded
from forebay.acquisition.journal.segment import SegmentFile, make_spare
from forebay.acquisition.storage.held import HeldFolder

_AHEAD = f"ahead.{SPARE}"
"""Name of the spare that is made beforehand."""
_SHARE = 8
"""Least number of segments that a storage has room for: what is recorded needs some as well."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much a journal may take of the storage."""

    capacity_bytes: int = 4 * 2**30
    """Bytes of all its segments together."""
    segment_bytes: int = 256 * 2**20
    """Bytes of a segment, or of one frame where that is larger."""
    spares: int = 2
    """Freed segments that are kept to be written again, which makes flushing them much cheaper."""

    def fitted(self, geometry: Geometry, *, free: int, expected: int | None = None) -> Self:
        """Return it with segments of which the storage holds several, none larger than needed.

        Parameters
        ----------
        geometry
            The layout of the frames.
        free
            Bytes that the storage has left.
        expected
            Frames that will come, where that is known.

        Examples
        --------
        >>> import numpy as np
        >>> camera = Geometry(("y", "x"), (2048, 2048), np.dtype("uint16"))
        >>> for free, frames in ((10**12, None), (10**12, 2), (10**8, None), (10**6, None)):
        ...     print(Room().fitted(camera, free=free, expected=frames).segment_bytes)
        268435456
        16781440
        12500000
        8392768
        """
        frame = padded(geometry.frame_bytes)
        most = min(self.segment_bytes, free // _SHARE)
        if expected is not None:
            most = min(most, SEGMENT_HEADER_BYTES + expected * frame)
        return replace(self, segment_bytes=max(SEGMENT_HEADER_BYTES + frame, most))


@dataclass(frozen=True, slots=True)
class Written:
    """A segment to which nothing is added any more."""

    path: Path
    """Its file."""
    last_counter: int
    """The highest counter in it."""
    bytes: int
    """Bytes that it takes on the storage."""


class SegmentRow:
    """The segments of a writer.

    One thread begins and ends segments; others may free them and make spares meanwhile.

    Parameters
    ----------
    folder
        Where they are to be.
    run_id
        The run that their frames belong to.
    geometry
        The layout of the frames.
    epoch
        The writer's number.
    room
        How much they may take.
    earlier
        Segments of earlier writers, which come before its own and are freed like them.

    Raises
    ------
    StorageError
        If the room is not enough for two segments of one frame.
    OSError
        If the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        geometry: Geometry,
        epoch: int,
        room: Room,
        earlier: Sequence[Written] = (),
    ) -> None:
        least = SEGMENT_HEADER_BYTES + padded(geometry.frame_bytes)
        self._segment_bytes = max(least, min(room.segment_bytes, room.capacity_bytes // 2))
        if room.capacity_bytes < 2 * self._segment_bytes:
            raise StorageError(
                f"{room.capacity_bytes} bytes are too few for the frames in {folder}: two segments "
                f"of {self._segment_bytes} bytes are needed; give it more room"
            )
        self.folder = folder
        """Where they are."""
        self._run_id = run_id
        self._geometry = geometry
        self._epoch = epoch
        self._room = room
        self._lock = threading.Lock()
        self._written = deque(earlier)
        self._spares: list[Path] = []
        self._scarce = False
        self._beginning = threading.Lock()
        """Held while room is taken from the storage."""
        self._number = 0
        self._freed_through = -1
        self.current: SegmentFile | None = None
        """The segment that is added to."""
        durable.make_folders(folder)
        self._held = HeldFolder(folder)
        remove_leftovers(folder)

    @property
    def bytes(self) -> int:
        """Bytes that they take on the storage."""
        with self._lock:
            current = self.current.size if self.current else 0
            spare = len(self._spares) * self._segment_bytes
            return current + spare + sum(each.bytes for each in self._written)

    def begin(self, *, first_record: int, length: int) -> SegmentFile | None:
        """Begin a segment with room for so many bytes; None where that would be too much."""
        size = max(self._segment_bytes, SEGMENT_HEADER_BYTES + length)
        header = SegmentHeader(
            self._run_id, self._epoch, self._number, first_record, self._geometry
        )
        with self._beginning:
            self._held.check()
            with self._lock:
                spare = self._spares.pop() if self._spares and size == self._segment_bytes else None
            if not spare and self.bytes + size > self._room.capacity_bytes:
                return None
            segment = SegmentFile.create(self.folder, header, size=size, spare=spare)
            with self._lock:
                self._number += 1
                self.current = segment
        return segment

    def stock(self) -> None:
        """Make room for the next segment, if one is soon needed: nobody is to wait for that then.

        Raises
        ------
        OSError
            If the storage refuses for another reason than that it is full.
        """
        with self._beginning:
            current = self.current
            soon = current is None or current.half_full
            fits = self.bytes + self._segment_bytes <= self._room.capacity_bytes
            if self._spares or self._scarce or not soon or not fits:
                return
            self._held.check()
            path = self.folder / _AHEAD
            try:
                make_spare(path, size=self._segment_bytes)
            except OSError as error:
                if error.errno not in durable.NO_SPACE:
                    raise
                return
            with self._lock:
                self._spares.append(path)

    def give_back_spares(self) -> None:
        """Remove the spares: blocks need their room, and without these no segment is freed."""
        with self._lock:
            spares, self._spares = self._spares, []
            self._scarce = True
        for spare in spares:
            spare.unlink(missing_ok=True)

    def end(self, *, last_counter: int) -> None:
        """Add nothing more to the current segment, whose last counter is known now."""
        if self.current:
            self.current.close()
            written = Written(self.current.path, last_counter, self.current.size)
            with self._lock:
                self._written.append(written)
                self.current = None
            self.free_through(self._freed_through)

    def flush(self) -> None:
        """Make what was added to the current segment durable; the others are."""
        if self.current:
            self.current.flush()

    def free_through(self, counter: int) -> None:
        """Free the segments of which no frame has a counter above `counter`."""
        while True:
            with self._lock:
                self._freed_through = max(self._freed_through, counter)
                if not self._written or self._written[0].last_counter > counter:
                    self._scarce = False
                    return
                written = self._written.popleft()
                whole = written.bytes == self._segment_bytes
                keep = whole and not self._scarce and len(self._spares) < self._room.spares
            self._held.check()
            spare = written.path.with_suffix(f".{SPARE}")
            if keep:
                written.path.rename(spare)
            else:
                written.path.unlink()
            # The oldest goes first for good, so that a power cut leaves no gap in the row; and what
            # is written to a spare must not show under its old name.
            durable.flush_folder(self.folder)
            if keep:
                with self._lock:
                    self._spares.append(spare)

    def close(self) -> None:
        """Close the current segment; everything stays."""
        if self.current:
            self.current.close()
        self._held.close()
