"""Writing a run: frames are gathered into a block, and a block is committed whole."""

import contextlib
import json
import logging
import operator
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from forebay.acquisition import durable
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import FrameError, RunExistsError, SourceError, StorageError
from forebay.acquisition.format import layout
from forebay.acquisition.format.codec import Compression, CompressionName
from forebay.acquisition.format.history import log_key
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Created,
    Dropped,
    Extent,
    Opened,
    Record,
    Started,
    StoredObject,
    encode_line,
    line_digest,
)
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata, check_frame, check_geometry
from forebay.acquisition.run.folder import check_free, make_folder, quarantine, show
from forebay.acquisition.run.held import HeldFrames
from forebay.acquisition.run.lock import WriterLock, writer_name
from forebay.acquisition.run.position import Position
from forebay.acquisition.run.reader import open_run

NOT_DELIVERED = "the camera counted it and did not deliver it"
NOT_RECORDED = "it was not committed when an earlier writer ended, or came while there was none"

_log = logging.getLogger("forebay.acquisition")


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
    ...     run = open_run(f"{folder}/sample")
    ...     run.frames.shape, run.closed, [each.first for each in run.dropped]
    ((3, 4, 6), True, [9])
    """

    def __init__(
        self,
        path: Path,
        lock: WriterLock,
        held: HeldFrames,
        run: RunLayout,
        at: Position,
        clock: Clock,
        *,
        gap: str,
    ) -> None:
        """Go on behind a position of a run; use `create` or `resume` instead."""
        self._path = path
        self._lock = lock
        self._held = held
        self._layout = run
        self._at = at
        self._clock = clock
        self._gap = gap
        self._failed = False
        self._dropped: list[Dropped] = []
        self._log = durable.AppendLog(path / log_key(at.epoch))

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        geometry: Geometry,
        *,
        metadata: ImageMetadata | None = None,
        frames_per_block: int = 64,
        compression: CompressionName = "none",
        clock: Clock = SYSTEM_CLOCK,
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
        frames_per_block
            Frames that are committed together.
        compression
            How frames are packed.
        clock
            Source of the times in the log.

        Raises
        ------
        RunExistsError
            If there is something at `path`.
        RunNameError, FrameError, SourceError
            If the name, the geometry or the metadata cannot be a run's.
        StorageError
            If the folder cannot be made.
        """
        path = Path(path).absolute()
        layout.check_run_name(path.name)
        check_geometry(geometry)
        if frames_per_block < 1:
            raise FrameError(f"a block of {frames_per_block} frames cannot be; use 1 or more")
        run = RunLayout(
            run_id=str(uuid.uuid4()),
            name=path.name,
            created=datetime.fromtimestamp(clock.time_ns() / 1e9, UTC).isoformat(),
            geometry=geometry,
            frames_per_block=frames_per_block,
            compression=Compression(compression),
            metadata=_plain(metadata or ImageMetadata()),
        )
        held = HeldFrames(run)
        at = Position()
        lines = _line(Created(run.attributes()), at) + _line(_opened(run, at, 0, clock), at)
        with durable.storage_errors(f"the run {path}"):
            check_free(path)
            lock = make_folder(path, run, lines)
            try:
                return cls(path, lock, held, run, at, clock, gap=NOT_DELIVERED)
            except BaseException:
                lock.release()
                raise

    @classmethod
    def resume(cls, path: str | os.PathLike[str], *, clock: Clock = SYSTEM_CLOCK) -> Self:
        """Become the writer of a run whose writer is gone, behind its last committed block.

        What the earlier writer left uncommitted is put into ``_forebay/quarantine``; the counters
        between its last committed frame and the next one appended are written down as dropped.

        Raises
        ------
        RunNotFoundError
            If there is no run at `path`.
        RunLockedError
            If its writer is still there.
        RunExistsError
            If the run is closed, so that nothing can be added.
        RunDamagedError
            If its log has changed.
        """
        path = Path(path).absolute()
        held = HeldFrames(open_run(path).layout)
        with durable.storage_errors(f"the run {path}"):
            lock = WriterLock(path / layout.LOCK, run=path)
            try:
                run = open_run(path)
                history, at = run.history, Position.after(run.history)
                quarantine(path, run.layout, blocks=at.blocks, epoch=history.epoch)
                if history.closed:
                    show(path, run.layout, at.frames)
                    raise RunExistsError(f"{path} is closed and whole: start another run")
                # A line that the earlier writer wrote and did not live to flush is read like any
                # other; it must be as durable as they before the next log builds on it.
                durable.flush_file(path / log_key(history.epoch))
                first = _line(_opened(run.layout, at, history.log_bytes, clock), at)
                durable.write_aside(path / layout.ASIDE / "log", [first])
                durable.publish(path / layout.ASIDE / "log", path / log_key(at.epoch))
                show(path, run.layout, at.frames)
                return cls(path, lock, held, run.layout, at, clock, gap=NOT_RECORDED)
            except BaseException:
                lock.release()
                raise

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._path

    @property
    def layout(self) -> RunLayout:
        """What every block of the run has in common."""
        return self._layout

    @property
    def committed(self) -> int:
        """Number of committed frames."""
        return self._at.frames

    @property
    def dropped(self) -> int:
        """Number of frames that were dropped."""
        return self._at.dropped

    @property
    def counted(self) -> int:
        """Number of frames that the camera counted, from the first one seen."""
        return self._at.counted

    def append(self, frame: Frame) -> Block | None:
        """Take a frame; return the block if it is the one that completes it.

        Raises
        ------
        FrameError
            If the frame's shape or dtype is not the run's, or its counter does not go up.  The
            frame is not taken; everything before it stays.
        StorageError
            If the block cannot be written.  What was committed before stays; the writer is done.
        """
        self._check_alive()
        counter = check_frame(frame, self._layout.geometry, following=self._at.next_counter)
        self._count(counter, counter)
        self._held.add(frame)
        return self._commit() if self._held.full else None

    def drop(self, first: int, last: int, *, reason: str) -> None:
        """Write down that the frames with the counters from `first` to `last` are lost.

        They are part of the next block's record.

        Raises
        ------
        FrameError
            If the counters do not follow the last one that was taken.
        StorageError
            If the writer has ended.
        """
        self._check_alive()
        first, last = operator.index(first), operator.index(last)
        lowest = self._at.next_counter or 0
        if not lowest <= first <= last < 2**64:
            raise FrameError(f"cannot drop the frames {first} to {last}: {lowest} is the next")
        self._count(first, last)
        self._note(Dropped(first, last, reason, self._clock.time_ns()))

    def close(self, *, reason: str = "the source ended") -> None:
        """Commit the frames that are held, end the run, and let go of it.

        A writer that has failed, or is closed already, only lets go.

        Raises
        ------
        StorageError
            If that cannot be written.
        """
        try:
            if not self._failed:
                self._finish(reason)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the run as a kill would: it stays open, and can be resumed."""
        if not self._log.closed:
            self._failed = True
            self._log.close()
            self._lock.release()

    def __enter__(self) -> Self:
        """Write the run within the block."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
        else:
            self.close(reason=f"{type(error).__name__}: {error}")

    def _check_alive(self) -> None:
        if self._failed:
            raise StorageError(f"the writer of {self._path} has ended; resume the run")

    def _count(self, first: int, last: int) -> None:
        """Move the counter on, and write down what is jumped over."""
        if self._at.first_counter is None:
            with self._writing(f"the start of {self._path}"):
                self._record(Started(first, self._clock.time_ns()))
            self._at.first_counter = first
        following = self._at.next_counter
        if following is not None and first > following:
            self._note(Dropped(following, first - 1, self._gap, self._clock.time_ns()))
        self._at.next_counter = last + 1
        self._gap = NOT_DELIVERED

    def _note(self, dropped: Dropped) -> None:
        self._at.dropped += dropped.count
        before = self._dropped[-1] if self._dropped else None
        if before and before.last + 1 == dropped.first and before.reason == dropped.reason:
            dropped = Dropped(before.first, dropped.last, before.reason, before.at)
            self._dropped.pop()
        self._dropped.append(dropped)

    def _commit(self) -> Block:
        at = self._at
        what = f"block {at.blocks} of {self._path} (the {at.frames} frames before it stay readable)"
        with self._writing(what):
            block = self._store()
            self._record(block)
            self._advance(block)
        return block

    def _finish(self, reason: str) -> None:
        with self._writing(f"the end of {self._path}"):
            block = self._store() if self._held else None
            committed = block.extent.stop if block else self._at.frames
            closed = Closed(
                block=block,
                counted=self._at.counted,
                committed=committed,
                dropped_count=self._at.dropped,
                dropped=tuple(self._dropped),
                reason=reason,
                at=self._clock.time_ns(),
            )
            self._record(closed)
            if block:
                self._advance(block)

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """End the writer unless the block is done whole.

        A write or a flush that failed is not tried again: what the system then says of that file
        cannot be believed.  `resume` starts from the log.
        """
        self._check_alive()
        self._failed = True
        with durable.storage_errors(what):
            yield
        self._failed = False

    def _store(self) -> Block:
        """Write the objects of the block that is held, each flushed and named before the next."""
        number, start = self._at.blocks, self._at.frames
        objects = []
        for array, parts in self._held.objects():
            temporary = self._path / layout.ASIDE / f"{array}-{number}"
            key = self._layout.object_key(array, number)
            size, digest = durable.write_aside(temporary, parts)
            durable.publish(temporary, self._path / key)
            objects.append(StoredObject(key=key, bytes=size, blake3=digest))
        block = Block(
            number=number,
            extent=Extent(start, start + len(self._held)),
            frame_ids=self._held.ends("frame_id"),
            timestamps=self._held.ends("timestamp"),
            dropped=tuple(self._dropped),
            objects=tuple(objects),
        )
        self._dropped = []
        return block

    def _record(self, record: Record) -> None:
        self._log.append(_line(record, self._at))

    def _advance(self, block: Block) -> None:
        """Show a block that is in the log."""
        self._at.add(block)
        self._held.clear()
        show(self._path, self._layout, self._at.frames)
        stored = sum(each.bytes for each in block.objects)
        _log.info(
            "block committed",
            extra={
                "run": self._layout.name,
                "block": block.number,
                "frames": len(block.extent),
                "bytes": stored,
            },
        )


def _line(record: Record, at: Position) -> bytes:
    """Return the line for a record behind a position of the log, and move the position on."""
    line = encode_line(record, previous=at.digest)
    at.digest = line_digest(line)
    return line


def _opened(run: RunLayout, at: Position, sealed_bytes: int, clock: Clock) -> Opened:
    return Opened(
        run_id=run.run_id,
        epoch=at.epoch,
        writer=writer_name(),
        at=clock.time_ns(),
        sealed_bytes=sealed_bytes,
    )


def _plain(metadata: ImageMetadata) -> ImageMetadata:
    """Return the metadata if every JSON reader will understand them."""
    known = (metadata.pixel_size, metadata.exposure, metadata.frame_rate, metadata.channels)
    try:
        json.dumps([*known, dict(metadata.instrument)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SourceError(f"the instrument's metadata cannot be kept as JSON: {error}") from error
    return metadata
