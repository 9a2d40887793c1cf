"""Writing a run frame by frame: frames are gathered into a block, and a block is committed whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from forebay.acquisition import durable
from forebay.acquisition.arguments import is_integer
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import FrameError, NoteError, SourceError
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.format.history import OnRead
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import Block, Dropped
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata, check_frame, check_geometry
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.run.finding import run_folder
from forebay.acquisition.run.reader import open_run
from forebay.acquisition.run.writing.block import BlockInFlight
from forebay.acquisition.run.writing.create import create_run, place_of_run
from forebay.acquisition.run.writing.leftovers import leftovers, remove_leftovers, spill_folders
from forebay.acquisition.run.writing.resume import resume_run
from forebay.acquisition.run.writing.writable import WritableRun

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Bucket
    from zarr.storage import ObjectStore


class RunWriter:
    """The one writer of a run.

    `append` takes the frames in the order of their counters.  When a block is full it is
    committed: its objects are written aside, flushed and named, and then one record is flushed
    to the log; from then on the block is there for good, and only then do the arrays grow.  A
    counter that is jumped over is written down as dropped.  `close` commits what remains and ends
    the run.

    Leaving the ``with`` block closes the run; leaving it by an exception closes it too, with the
    exception as the reason, unless the storage itself has failed.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
    >>> geometry = Geometry(dims=("y", "x"), shape=(4, 6), dtype=np.dtype("uint16"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunWriter.create(f"{folder}/sample", geometry, frames_per_block=2) as writer:
    ...         for counter in (7, 8, 10):
    ...             pixels = np.full((4, 6), counter, "uint16")
    ...             _ = writer.append(Frame(counter, counter * 10**9, pixels))
    ...         writer.drop(11, 12, reason="the shutter was closed")
    ...         writer.note("event", "the pump was started")
    ...     run = open_run(f"{folder}/sample")
    >>> run.frames.shape, run.closed, run.notes[0].text
    ((3, 4, 6), True, 'the pump was started')
    >>> for each in run.dropped:
    ...     print(each.first, each.last, each.reason)
    9 9 the camera counted it and did not deliver it
    11 12 the shutter was closed
    """

    def __init__(self, path: Path | None, run: WritableRun, memory: FrameSlots) -> None:
        """Write behind the end of a run; use one of the class methods instead."""
        self._path = path
        self._run = run
        self._memory = memory
        self._block = BlockInFlight(run.layout, run.blocks)
        self._spilled: tuple[Path, ...] = ()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        geometry: Geometry,
        *,
        metadata: ImageMetadata | None = None,
        provenance: Mapping[str, Any] | None = None,
        frames_per_block: int = 64,
        compression: CompressionName = "none",
        clock: Clock = SYSTEM_CLOCK,
        run_id: str | None = None,
    ) -> Self:
        """Make a new run and become its writer.

        Parameters
        ----------
        path
            Folder of the run; its last part is the run's name.
        geometry
            The layout of every frame to come.
        metadata
            What is known of the instrument.
        provenance
            What was done to the frames before they come, as JSON.
        frames_per_block
            Frames that are committed together.
        compression
            How frames are packed.
        clock
            Source of the times in the log.
        run_id
            Identity of the run, a UUID; a new one if not given.

        Raises
        ------
        RunExistsError
            If there is something at `path`.
        RunNameError, FrameError, SourceError
            If the name, the geometry or the metadata cannot be a run's.
        StorageError
            If the folder cannot be made.
        """
        path = place_of_run(path)
        memory = _room_for_block(check_geometry(geometry), frames_per_block)
        run = create_run(
            path,
            geometry,
            metadata=metadata,
            provenance=provenance,
            frames_per_block=frames_per_block,
            compression=compression,
            clock=clock,
            run_id=run_id,
        )
        return cls(path, run, memory)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        *,
        take_over: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        on_read: OnRead | None = None,
    ) -> Self:
        """Become the writer of a run whose writer is gone, behind its last committed block.

        Blocks that the earlier writer had stored whole are committed, and so are the frames in its
        journal and those that it had spilled; what else it left is put into
        ``_forebay/quarantine``.  The counters between the last of these frames and the next one
        appended are written down as dropped.

        Parameters
        ----------
        path
            Folder of the run.
        take_over
            Whether to take the run from a writer that is still there and cannot be stopped: what
            it commits from then on is void, and it ends with `RunTakenOverError`.
        clock, on_read
            Source of times in the log; what is told how far it is read, as for `open_run`.

        Raises
        ------
        RunNotFoundError
            If there is no run at `path`.
        RunLockedError
            If its writer is still there, and it is not to be taken over.
        RunExistsError
            If the run is closed, so that nothing can be added.
        RunDamagedError
            If its log has changed.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
        >>> geometry, pixels = Geometry(("y", "x"), (4, 6), np.dtype("u2")), np.zeros((4, 6), "u2")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     killed = RunWriter.create(f"{folder}/sample", geometry, frames_per_block=1)
        ...     _ = killed.append(Frame(0, 0, pixels))
        ...     killed.abandon()
        ...     with RunWriter.resume(f"{folder}/sample") as writer:
        ...         _ = writer.append(Frame(3, 0, pixels))
        ...     run = open_run(f"{folder}/sample")
        ...     run.frames.shape, [(each.first, each.last) for each in run.dropped]
        ((2, 4, 6), [(1, 2)])
        """
        known = open_run(path := run_folder(path), on_read=on_read)
        memory = _room_for_block(known.layout.geometry, known.layout.frames_per_block)
        again = resume_run(path, known=known, take_over=take_over, clock=clock)
        writer = cls(path, again, memory)
        try:
            writer._take_leftovers(path, spill_folders(known.notes, known.layout), clock=clock)
        except BaseException:
            writer.abandon()
            raise
        return writer

    @classmethod
    def create_in(
        cls,
        store: "ObjectStore[Bucket]",
        name: str,
        geometry: Geometry,
        *,
        metadata: ImageMetadata | None = None,
        provenance: Mapping[str, Any] | None = None,
        frames_per_block: int = 64,
        compression: CompressionName = "none",
        clock: Clock = SYSTEM_CLOCK,
    ) -> Self:
        """Make a new run in a bucket of an object store, and become its writer.

        Parameters
        ----------
        store
            Zarr store over the bucket, whose root is to be the run.
        name
            What the run is called.
        geometry, metadata, provenance, frames_per_block, compression, clock
            As for `create`.

        Raises
        ------
        RunExistsError
            If there is something at that place.
        RunNameError, FrameError, SourceError
            If the name, the geometry or the metadata cannot be a run's.
        StorageError
            If the bucket refuses, does not answer, or knows no conditional puts.

        Examples
        --------
        >>> import numpy as np
        >>> from obstore.store import MemoryStore
        >>> from zarr.storage import ObjectStore
        >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
        >>> geometry = Geometry(dims=("y", "x"), shape=(4, 6), dtype=np.dtype("uint16"))
        >>> store = ObjectStore(MemoryStore())
        >>> with RunWriter.create_in(store, "sample", geometry, frames_per_block=2) as writer:
        ...     for counter in range(3):
        ...         _ = writer.append(Frame(counter, counter, np.zeros((4, 6), "uint16")))
        >>> open_run(store).frames.shape
        (3, 4, 6)
        """
        # obstore takes a tenth of a second to import, and most runs lie in a folder.
        from forebay.acquisition.run.writing.bucket import create_run_in

        memory = _room_for_block(check_geometry(geometry), frames_per_block)
        run = create_run_in(
            store,
            name,
            geometry,
            metadata=metadata,
            provenance=provenance,
            frames_per_block=frames_per_block,
            compression=compression,
            clock=clock,
        )
        return cls(None, run, memory)

    @classmethod
    def take_over(cls, store: "ObjectStore[Bucket]", *, clock: Clock = SYSTEM_CLOCK) -> Self:
        """Become the writer of a run in a bucket, behind its last committed block.

        A bucket has no lock that ends with its holder: nobody can tell whether the run has a
        writer.  One that is still there is shut out.  What it has not committed is lost, and its
        next commit ends it with `RunTakenOverError`.

        Parameters
        ----------
        store
            Zarr store over the bucket, whose root is the run.
        clock
            Source of the times in the log.

        Raises
        ------
        RunNotFoundError
            If there is no run.
        RunLockedError
            If another writer takes the run over at the same time.
        RunExistsError
            If the run is closed, so that nothing can be added.
        RunDamagedError
            If its log has changed.
        StorageError
            If the bucket refuses, or does not answer.

        Examples
        --------
        >>> import numpy as np
        >>> from obstore.store import MemoryStore
        >>> from zarr.storage import ObjectStore
        >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
        >>> geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
        >>> store, pixels = ObjectStore(MemoryStore()), np.zeros((4, 6), "uint16")
        >>> earlier = RunWriter.create_in(store, "sample", geometry, frames_per_block=1)
        >>> _ = earlier.append(Frame(0, 0, pixels))
        >>> with RunWriter.take_over(store) as writer:
        ...     _ = writer.append(Frame(1, 0, pixels))
        >>> open_run(store).frames.shape
        (2, 4, 6)
        """
        from forebay.acquisition.run.writing.bucket import take_over_run

        run = take_over_run(store, clock=clock)
        try:
            memory = _room_for_block(run.layout.geometry, run.layout.frames_per_block)
            writer = cls(None, run, memory)
            spilled = spill_folders(open_run(store).notes, run.layout)
            writer._take_leftovers(None, spilled, clock=clock)
        except BaseException:
            run.abandon()
            raise
        return writer

    @property
    def path(self) -> Path | None:
        """Folder of the run, or None where it lies in a bucket."""
        return self._path

    @property
    def layout(self) -> RunLayout:
        """What every block of the run has in common."""
        return self._run.layout

    @property
    def committed(self) -> int:
        """Number of committed frames."""
        return self._run.committer.frames

    @property
    def dropped(self) -> int:
        """Number of frames that were dropped."""
        return self._run.account.dropped

    @property
    def counted(self) -> int:
        """Number of frames that the camera counted, from the first one seen."""
        return self._run.account.counted

    def append(self, frame: Frame) -> Block | None:
        """Take a frame; return the block if it is the one that completes it.

        Parameters
        ----------
        frame
            The frame: pixels of the run's shape and dtype, which are copied, and a counter above
            those that came before.

        Returns
        -------
        Block or None
            The block that is committed, and durable, by now; None while it is not full.

        Raises
        ------
        FrameError
            If the frame's shape or dtype is not the run's, or its counter does not go up.  The
            frame is not taken; everything before it stays.
        StorageError
            If the block cannot be written.  What was committed before stays; the writer is done.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
        >>> geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
        >>> pixels = np.zeros((4, 6), "uint16")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RunWriter.create(f"{folder}/sample", geometry, frames_per_block=2) as writer:
        ...         blocks = [writer.append(Frame(each, 0, pixels)) for each in range(4)]
        >>> [block and block.extent for block in blocks]
        [None, Extent(start=0, stop=2), None, Extent(start=2, stop=4)]
        """
        self._run.check_alive()
        counter = check_frame(frame, self.layout.geometry, following=self._run.account.next_counter)
        self._run.take(counter)
        room = self._memory[len(self._block)]
        room.pixels[...] = frame.data
        self._block.add(room, counter=counter, timestamp=frame.timestamp, flags=frame.flags)
        if not self._block.full:
            return None
        try:
            block = self._store()
            self._run.commit([block])
            self._run.show()
        except BaseException:
            self._run.committer.abandon()
            raise
        self._block = BlockInFlight(self.layout, block.number + 1)
        return block

    def drop(self, first: int, last: int, *, reason: str) -> None:
        """Write down that the frames with the counters from `first` to `last` are lost.

        They are part of the next block's record.

        Parameters
        ----------
        first, last
            Counters of the first and the last one.
        reason
            Why they are lost.

        Raises
        ------
        FrameError
            If the counters do not follow the last one that was taken.
        StorageError
            If the writer has ended.
        """
        self._run.drop(first, last, reason=reason)

    def note(self, topic: str, text: str) -> None:
        """Write down in the run what happened, or what there is to say of it.

        Parameters
        ----------
        topic
            What it is about, such as ``annotation`` or ``event``.
        text
            What there is to say.

        Raises
        ------
        NoteError
            If it is not text.
        StorageError
            If it cannot be written; the writer is done.
        """
        self._run.note(topic, text)

    def close(self, *, reason: str = "the source ended") -> None:
        """Commit the frames that are held, end the run, and let go of it.

        A writer that has failed, or is closed already, only lets go.

        Parameters
        ----------
        reason
            Why the run ends.

        Raises
        ------
        NoteError
            If the reason is no text.
        StorageError
            If that cannot be written.
        """
        if not isinstance(reason, str):
            raise NoteError(f"a run cannot be closed for the reason {reason!r}: give a text")
        try:
            if not self._run.committer.failed:
                self._run.close(self._store() if len(self._block) else None, reason=reason)
                remove_leftovers(self._path, self._spilled)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the run as a kill would: it stays open, and can be resumed."""
        self._run.abandon()

    def __enter__(self) -> Self:
        """Write the run within the block."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
        else:
            self.close(reason=f"{type(error).__name__}: {error}")

    def _take_leftovers(
        self, path: Path | None, spilled: tuple[Path, ...], *, clock: Clock
    ) -> None:
        """Record what an earlier writer had not committed.

        It stays where it is until the run is closed: the last block is not committed before.
        """
        self._spilled = spilled
        account = self._run.account
        for entry in leftovers(path, self.layout, account, spilled=spilled, clock=clock):
            if isinstance(entry, Dropped):
                self._run.drop(entry.first, entry.last, reason=entry.reason, at=entry.at)
            else:
                self.append(entry)

    def _store(self) -> Block:
        block = self._block
        block.seal(self._run.account.cut())
        where = self._run.storage.where
        what = (
            f"block {block.number} of {where} (the {self.committed} frames before it stay readable)"
        )
        with durable.storage_errors(what):
            return block.store(self._run.storage)


def _room_for_block(geometry: Geometry, frames: int) -> FrameSlots:
    if not is_integer(frames):
        raise FrameError(f"a block of {frames!r} frames cannot be; give a whole number")
    try:
        return FrameSlots(geometry, max(1, frames))
    except SourceError as error:
        raise FrameError(f"{error}; take fewer frames per block") from error
