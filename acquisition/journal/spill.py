"""A queue of frames on disk, for the time in which the recorder is slower than the camera."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from forebay.acquisition import durable
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import NoSpaceError, RunDamagedError, RunExistsError
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame, FrameFlag, Geometry
from forebay.acquisition.journal.folder import segments_of
from forebay.acquisition.journal.journal import FrameJournal, Window
from forebay.acquisition.journal.reading import read_dropped
from forebay.acquisition.journal.records import Kind, RecordHeader
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.segment_reader import SegmentReader
from forebay.acquisition.journal.spill_cursor import SpillCursor
from forebay.acquisition.journal.survey import Surveyed, survey
from forebay.acquisition.sizes import size_text
from forebay.acquisition.storage.room import free_bytes

ROOM = Room(capacity_bytes=64 * 2**30, spares=0)
WINDOW = Window(seconds=1.0, bytes=128 * 2**20)

_RETRY_SECONDS = 1.0
_LEAST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Spilled:
    """What the queue gives back at a time."""

    frame: Frame | None
    """The frame, in the array that was given; None where only what was dropped is left."""
    dropped: tuple[Dropped, ...]
    """What was dropped before it."""


def check_spill_folder(folder: Path, *, frame_bytes: int) -> None:
    """Refuse a folder to which no frame could be spilled, before one has to be.

    Parameters
    ----------
    folder
        Where frames would be spilled.
    frame_bytes
        Bytes of a frame; there must be room for some, unless it is 0.

    Raises
    ------
    StorageError
        If it cannot be written, or its file system cannot do what a journal needs.
    """
    aside, named = (folder / f".tried-{uuid.uuid4().hex}{end}" for end in ("", ".named"))
    with durable.storage_errors(f"the folder of spilled frames, {folder}"):
        durable.make_folders(folder)
        try:
            durable.write_aside(aside, [b"tried"])
            durable.publish(aside, named)
        finally:
            for each in (aside, named):
                each.unlink(missing_ok=True)
    needed, free = 2 * max(frame_bytes, _LEAST_BYTES), free_bytes(folder)
    if frame_bytes and free < needed:
        raise NoSpaceError(
            f"the folder of spilled frames, {folder}, has {size_text(free)} free, and less than "
            f"{size_text(needed)} is of no use: make room, or name another folder"
        )


class SpillQueue:
    """Frames on disk, first in, first out.

    One thread puts, and one takes.  What was put is safe from a kill; it is safe from a power cut
    when the journal below is flushed (see `journal`).  A frame stays on disk until it is both
    taken and freed as committed, so that `recover` finds what a writer that died had not
    committed.

    Parameters
    ----------
    folder
        Where frames may be spilled, of this run and of others.
    run_id
        The run that they belong to; they lie in a folder of that name.
    geometry
        The layout of the frames.
    epoch
        The writer's number; no other writer of the run has it.
    room
        How much they may take of the storage.
    window
        What a power cut may take.
    clock
        Source of durations.
    earlier
        What an earlier writer has left; see `recover`.

    Raises
    ------
    RunExistsError
        If an earlier writer has left frames there, which `recover` takes over.
    StorageError
        If the folder cannot be made, or the room is too little for two frames.

    Examples
    --------
    >>> import tempfile, uuid, numpy as np
    >>> from forebay.acquisition import Frame, Geometry
    >>> from forebay.acquisition.journal.row import Room
    >>> run, geometry = str(uuid.uuid4()), Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    >>> pixels = np.empty((4, 6), "uint16")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with SpillQueue(folder, run, geometry, epoch=1, room=Room(10**6)) as queue:
    ...         for counter in (7, 8, 9):
    ...             _ = queue.put(Frame(counter, 0, np.full((4, 6), counter, "uint16")))
    ...         spilled = queue.take(pixels)
    ...         spilled.frame.counter, int(pixels.max()), len(queue)
    (7, 7, 2)
    """

    def __init__(
        self,
        folder: str | Path,
        run_id: str,
        geometry: Geometry,
        *,
        epoch: int,
        room: Room = ROOM,
        window: Window = WINDOW,
        clock: Clock = SYSTEM_CLOCK,
        earlier: Sequence[Surveyed] = (),
    ) -> None:
        own = Path(folder).absolute() / run_id
        if segments_of(own) and not earlier:
            raise RunExistsError(
                f"{own} holds frames that an earlier writer did not commit: take them over "
                "(SpillQueue.recover), or remove the folder if they are not wanted"
            )
        self.journal = FrameJournal(
            own,
            run_id=run_id,
            geometry=geometry,
            epoch=epoch,
            room=room,
            window=window,
            earlier=[each.written for each in earlier if not each.damage],
            clock=clock,
        )
        """Where the frames lie; a `GroupCommit` of it keeps its window."""
        self._cursor = SpillCursor(
            own, run_id=run_id, epoch=epoch, journal=self.journal, earlier=earlier
        )
        self._folder = own
        self._clock = clock
        self._dropped: list[Dropped] = []
        # Frames that earlier writers left, and those that were taken, or are lost.
        self._left = sum(each.frames for each in earlier)
        self._taken = 0
        self._taken_through = -1
        self._no_space_until: float | None = None

    @classmethod
    def recover(
        cls,
        folder: str | Path,
        run_id: str,
        geometry: Geometry,
        *,
        epoch: int,
        after: int | None = None,
        room: Room = ROOM,
        window: Window = WINDOW,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Self:
        """Take over what an earlier writer has left: it is given back before what is put now.

        All of it is read once, to see what is sound.

        Parameters
        ----------
        folder, run_id, geometry, epoch, room, window, clock
            As for a new queue.
        after
            The last counter that is committed; frames up to it are not given back.
        """
        own = Path(folder).absolute() / run_id
        last = -1 if after is None else after
        earlier = survey(own, run_id=run_id, geometry=geometry, after=last)
        queue = cls(
            folder,
            run_id,
            geometry,
            epoch=epoch,
            room=room,
            window=window,
            clock=clock,
            earlier=earlier,
        )
        queue._taken_through = last
        return queue

    def __len__(self) -> int:
        """Return the number of frames that wait to be taken."""
        _, added = self.journal.counts()
        return self._left + added - self._taken

    @property
    def bytes(self) -> int:
        """Bytes that the queue takes on the storage."""
        return self.journal.bytes

    def put(self, frame: Frame, *, dropped: Sequence[Dropped] = ()) -> bool:
        """Add a frame, whose counter is above those before it, behind what was dropped before it.

        Returns
        -------
        bool
            False where there is no room: then nothing is added.  Where it is the storage that has
            none, it is asked again after a second, or when something was freed.

        Raises
        ------
        StorageError
            If the storage refuses for any other reason; nothing can be put any more, and what is
            there can still be taken.
        """
        waits = self._no_space_until
        if waits is not None and self._clock.monotonic() < waits:
            return False
        try:
            return self.journal.append(frame, dropped=dropped)
        except NoSpaceError:
            self._no_space_until = self._clock.monotonic() + _RETRY_SECONDS
            return False

    def take(self, into: npt.NDArray[Any]) -> Spilled | None:
        """Read the next frame into an array, or return None where none waits.

        Parameters
        ----------
        into
            An array of the geometry's shape and dtype, contiguous.

        Raises
        ------
        RunDamagedError
            If what is read is not what was put.  What was damaged is left out when `take` is
            called again: its counters are missing between those of the frames.
        StorageError
            If the storage does not give it.
        """
        pixels = into.reshape(-1).view(np.uint8)
        while found := self._next():
            reader, record = found
            if record.kind == Kind.DROPPED:
                self._take_dropped(reader, record)
                continue
            if record.counter <= self._taken_through:
                reader.skip(record)
                continue
            self._taken += 1
            self._taken_through = record.counter
            if not reader.read(record, pixels):
                raise RunDamagedError(
                    f"frame {record.counter} has changed in {self._folder}, where it was spilled "
                    "to: it is lost; check the device"
                )
            frame = Frame(record.counter, record.timestamp, into, FrameFlag(record.flags))
            return Spilled(frame, self._cut())
        return Spilled(None, self._cut()) if self._dropped else None

    def free_through(self, counter: int) -> None:
        """Remove the segments whose frames are all taken, and committed up to `counter`."""
        self.journal.free_through(min(counter, self._taken_through))
        self._no_space_until = None

    def close(self) -> None:
        """Close; what was not freed stays, to be recovered.  May be called twice."""
        try:
            self._cursor.close()
        finally:
            self.journal.close()

    def remove(self) -> None:
        """Close, and remove everything: all frames are committed, or accounted for."""
        self.close()
        self.journal.remove()

    def __enter__(self) -> Self:
        """Use the queue within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self) -> tuple[SegmentReader, RecordHeader] | None:
        try:
            return self._cursor.next()
        except RunDamagedError:
            # Nobody knows how many of the records that are lost were frames.
            waiting, added = self._cursor.count_frames(after=self._taken_through)
            self._taken = self._left + added - waiting
            raise

    def _take_dropped(self, reader: SegmentReader, record: RecordHeader) -> None:
        dropped = read_dropped(reader, record)
        if dropped is None:
            reader.skip(record)
            raise RunDamagedError(
                f"what was dropped from frame {record.counter} on has changed in {self._folder}, "
                "where it was spilled to; check the device"
            )
        if dropped.last > self._taken_through:
            first = max(dropped.first, self._taken_through + 1)
            self._dropped.append(replace(dropped, first=first))
            self._taken_through = dropped.last

    def _cut(self) -> tuple[Dropped, ...]:
        dropped, self._dropped = tuple(self._dropped), []
        return dropped
