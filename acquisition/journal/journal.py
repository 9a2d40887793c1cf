"""The journal of a writer: a frame is in a file soon after it came, whatever becomes of its block."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from forebay.acquisition import durable
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import NoSpaceError, StorageError
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame, Geometry
from forebay.acquisition.journal.folder import remove_journal
from forebay.acquisition.journal.records import (
    ALIGNMENT,
    RECORD_HEADER_BYTES,
    Kind,
    RecordHeader,
    encode_dropped,
    padded,
    payload_checksum,
)
from forebay.acquisition.journal.row import Room, SegmentRow, Written
from forebay.acquisition.journal.segment import SegmentFile

_PADDING = bytes(ALIGNMENT)


@dataclass(frozen=True, slots=True)
class Window:
    """What a power cut may take: what came since the last flush began."""

    seconds: float = 0.02
    """Time after which a flush begins."""
    bytes: int = 32 * 2**20
    """Bytes that may wait for the end of a flush, or one frame where that is larger."""


class FrameJournal:
    """Frames in files, in the order in which they came, until they are committed.

    One thread adds; the same or others flush (see `GroupCommit`) and free.  What was added is safe
    from a kill when `append` returns, and from a power cut when `durable_through` has reached it.

    Parameters
    ----------
    folder
        Where the segments are to be; it is made if need be.
    run_id
        The run that the frames belong to.
    geometry
        The layout of the frames.
    epoch
        The writer's number; no other writer of the run has it.
    room
        How much the segments may take.
    window
        What a power cut may take.
    earlier
        Segments of earlier writers, which are freed like its own.
    clock
        Source of durations.

    Raises
    ------
    StorageError
        If the folder cannot be made, or the room is too little for two frames.

    Examples
    --------
    >>> import tempfile, uuid, numpy as np
    >>> from forebay.acquisition import Frame, Geometry
    >>> from forebay.acquisition.journal.reading import read_journal
    >>> run, geometry = str(uuid.uuid4()), Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with FrameJournal(folder, run_id=run, geometry=geometry, epoch=1) as journal:
    ...         for counter in (7, 8, 9):
    ...             _ = journal.append(Frame(counter, 0, np.full((4, 6), counter, "uint16")))
    ...         journal.flush()
    ...         durable = journal.durable_through
    ...     durable, [each.counter for each in read_journal(folder, run_id=run, after=7)]
    (9, [8, 9])
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        run_id: str,
        geometry: Geometry,
        epoch: int,
        room: Room | None = None,
        window: Window | None = None,
        earlier: Sequence[Written] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        folder = Path(folder).absolute()
        self._what = f"the frame journal {folder}"
        with durable.storage_errors(self._what):
            self._row = SegmentRow(
                folder,
                run_id=run_id,
                geometry=geometry,
                epoch=epoch,
                room=room or Room(),
                earlier=earlier,
            )
        self._epoch = epoch
        self._window = window or Window()
        self._clock = clock
        self._failed = False
        self._failure: StorageError | None = None
        self._flushing = threading.Lock()
        """Held during a flush, and to change the segment; taken before `_state`."""
        self._state = threading.Lock()
        self._records = self._frames = self._flushed = 0
        self._last_counter = self._durable_through = -1
        # What no flush has begun with, and that together with what a flush is at.
        self._waiting_bytes = self._unflushed_bytes = 0
        self._waiting_since: float | None = None
        self.waiting = threading.Event()
        """Set where something waits for a flush to begin."""
        self.urgent = threading.Event()
        """Set where half of the window's bytes wait."""

    @property
    def folder(self) -> Path:
        """Where the segments are."""
        return self._row.folder

    def counts(self) -> tuple[int, int]:
        """Return the numbers of records, and of frames among them, that were added."""
        with self._state:
            return self._records, self._frames

    @property
    def bytes(self) -> int:
        """Bytes that the segments take on the storage."""
        return self._row.bytes

    @property
    def durable_through(self) -> int | None:
        """The last counter that a power cut does not take; None before the first."""
        return None if self._durable_through < 0 else self._durable_through

    @property
    def due(self) -> float | None:
        """The monotonic time at which a flush has to begin; None where nothing waits."""
        with self._state:
            since = self._waiting_since
            return None if since is None else since + self._window.seconds

    def append(
        self, frame: Frame, *, dropped: Sequence[Dropped] = (), checksum: int | None = None
    ) -> bool:
        """Add a frame, whose counter is above those before it, behind what was dropped before it.

        Where more than the window's bytes would wait, they are flushed first.

        Parameters
        ----------
        frame
            The frame.
        dropped
            What was dropped since the frame before.
        checksum
            CRC-32C of the pixels in C order, little-endian, where it is known.

        Returns
        -------
        bool
            False if the capacity is used up: then nothing is added, and `free_through` makes room.

        Raises
        ------
        NoSpaceError
            If the storage has no room: then nothing is added, and it can be tried again.
        StorageError
            If it cannot be written, or something failed before; the journal is done.
        """
        little = np.ascontiguousarray(frame.data, frame.data.dtype.newbyteorder("<"))
        payload = memoryview(little.reshape(-1).view(np.uint8))
        known = payload_checksum(payload) if checksum is None else checksum
        taken = _Content(
            Kind.FRAME, frame.counter, frame.timestamp, int(frame.flags), payload, known
        )
        return self._add([*map(_dropped_content, dropped), taken], last_counter=frame.counter)

    def has_room(self, frame_bytes: int) -> bool:
        """Tell whether a frame of so many bytes can be added now, making room for it if need be.

        Raises
        ------
        StorageError
            If the storage refuses for another reason than that it is full; the journal is done.
        """
        try:
            with self._ending_on_error():
                return self._segment_for(padded(frame_bytes)) is not None
        except NoSpaceError:
            return False

    def drop(self, dropped: Dropped) -> bool:
        """Add what was dropped, as `append` adds a frame."""
        return self._add([_dropped_content(dropped)], last_counter=dropped.last)

    def flush(self) -> None:
        """Make everything durable that has been added.

        Raises
        ------
        StorageError
            If that fails, or something failed before; the journal is done.
        """
        with self._flushing:
            self._flush()

    def prepare(self) -> None:
        """Make room for what comes, where it is soon needed.

        Raises
        ------
        StorageError
            If the storage refuses for another reason than that it is full; the journal is done.
        """
        with self._ending_on_error():
            self._row.stock()

    def free_through(self, counter: int) -> None:
        """Remove the segments whose frames are all committed, up to `counter`."""
        with durable.storage_errors(self._what):
            self._row.free_through(counter)

    def close(self) -> None:
        """Flush what waits, and close; the segments stay.  May be called twice."""
        try:
            if not self._failed:
                self.flush()
        finally:
            self._end()

    def remove(self) -> None:
        """Close, and remove every segment in the folder: all frames are committed."""
        self._end()
        with durable.storage_errors(self._what):
            remove_journal(self._row.folder)

    def __enter__(self) -> Self:
        """Use the journal within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _add(self, entry: Sequence["_Content"], *, last_counter: int) -> bool:
        """Add records that belong together: all of them, or none."""
        length = sum(padded(content.payload.nbytes) for content in entry)
        with self._ending_on_error():
            segment = self._segment_for(length)
            if segment is None:
                return False
            self._keep_window(length)
            parts = [
                part
                for number, content in enumerate(entry, start=self._records)
                for part in content.parts(self._epoch, number, self._flushed)
            ]
            segment.add(parts)
        with self._state:
            self._records += len(entry)
            self._frames += sum(content.kind == Kind.FRAME for content in entry)
            self._last_counter = last_counter
            self._waiting_bytes += length
            self._unflushed_bytes += length
            if self._waiting_since is None:
                self._waiting_since = self._clock.monotonic()
                self.waiting.set()
            if self._waiting_bytes >= self._window.bytes // 2:
                self.urgent.set()
        return True

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        """End the journal unless what is done is done whole, or can be tried again."""
        if self._failed:
            # Another thread may have met the failure, and whoever adds is to tell what it was.
            why = self._failure or "it is closed, or could not be written"
            raise StorageError(f"{self._what} has ended: {why}") from self._failure
        try:
            with durable.storage_errors(self._what):
                yield
        except NoSpaceError:
            raise
        except BaseException as failure:
            self._failed = True
            self._failure = failure if isinstance(failure, StorageError) else None
            raise

    def _segment_for(self, length: int) -> SegmentFile | None:
        """Return the segment that so many bytes go to, a new one if need be."""
        current = self._row.current
        if current and current.has_room(length):
            return current
        with self._flushing:
            if current:
                # A reader trusts that every segment but the last one is durable.
                self._flush()
                self._row.end(last_counter=self._last_counter)
            return self._row.begin(first_record=self._records, length=length)

    def _keep_window(self, length: int) -> None:
        """Let no more wait for a flush than the window says."""
        if self._unflushed_bytes + length > self._window.bytes:
            # A flush that is going on may be enough; it is waited for.
            with self._flushing:
                if self._waiting_bytes + length > self._window.bytes:
                    self._flush()

    def _flush(self) -> None:
        with self._state:
            records, last_counter = self._records, self._last_counter
            length, self._waiting_bytes = self._waiting_bytes, 0
            self._waiting_since = None
            self.waiting.clear()
            self.urgent.clear()
        with self._ending_on_error():
            if not length:
                return
            self._row.flush()
        with self._state:
            self._unflushed_bytes -= length
            self._flushed, self._durable_through = records, last_counter

    def _end(self) -> None:
        with self._flushing:
            self._failed = True
            self._row.close()


class _Content(NamedTuple):
    """What a record is to hold."""

    kind: Kind
    counter: int
    timestamp: int
    flags: int
    payload: memoryview
    checksum: int

    def parts(self, epoch: int, number: int, flushed: int) -> tuple[bytes | memoryview, ...]:
        """Return the record as it is written."""
        length = self.payload.nbytes
        header = RecordHeader(
            self.kind,
            epoch,
            number,
            flushed,
            self.counter,
            self.timestamp,
            self.flags,
            length,
            self.checksum,
        )
        return (
            header.encode(),
            self.payload,
            _PADDING[: padded(length) - RECORD_HEADER_BYTES - length],
        )


def _dropped_content(dropped: Dropped) -> _Content:
    payload = memoryview(encode_dropped(dropped))
    checksum = payload_checksum(payload)
    return _Content(Kind.DROPPED, dropped.first, dropped.at, 0, payload, checksum)
