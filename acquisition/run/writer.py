"""Writing a run: frames are gathered into a block, and a block is committed whole."""

import json
import logging
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from zarr.storage import LocalStore

from forebay.acquisition import durable
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import FrameError, RunExistsError, StorageError
from forebay.acquisition.format import layout
from forebay.acquisition.format.codec import Compression, CompressionName, crc32c
from forebay.acquisition.format.history import CHAIN_START, History, log_key, replay
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Dropped,
    Extent,
    Opened,
    Record,
    StoredObject,
    encode_line,
    line_digest,
)
from forebay.acquisition.format.shard import encode_shard
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata
from forebay.acquisition.run.folder import make_folder, quarantine, read_layout
from forebay.acquisition.run.lock import WriterLock, writer_name

NOT_DELIVERED = "the camera counted it and did not deliver it"

_log = logging.getLogger("forebay.acquisition")


@dataclass(slots=True)
class _Position:
    """How far a run has come; a writer keeps no more of it, however long it runs."""

    epoch: int = 1
    blocks: int = 0
    frames: int = 0
    dropped: int = 0
    first_counter: int | None = None
    next_counter: int | None = None
    sealed_bytes: int = 0
    digest: str = CHAIN_START

    @classmethod
    def after(cls, history: History) -> Self:
        """Return where the next writer of a run begins."""
        lows = [low for block in history.blocks[:1] for low in _counters(block)]
        highs = [high for block in history.blocks[-1:] for high in _counters(block)]
        return cls(
            epoch=history.epoch + 1,
            blocks=len(history.blocks),
            frames=history.frames,
            dropped=sum(each.count for each in history.dropped),
            first_counter=min(lows, default=None),
            next_counter=max(highs) + 1 if highs else None,
            sealed_bytes=history.log_bytes,
            digest=history.last_digest,
        )


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
        self, path: Path, lock: WriterLock, run: RunLayout, position: _Position, clock: Clock
    ) -> None:
        """Begin the next epoch of a run; use `create` or `resume` instead."""
        self._path = path
        self._lock = lock
        self._layout = run
        self._at = position
        self._clock = clock
        self._failed = False
        slots = run.frames_per_block
        self._frames = np.empty((slots, *run.geometry.shape), run.geometry.dtype)
        self._along = {name: np.zeros(slots, dtype) for name, dtype in COORDINATES.items()}
        self._held = 0
        self._dropped: list[Dropped] = []
        with durable.storage_errors(f"the log of {path}"):
            self._log = durable.AppendLog(path / log_key(position.epoch))
            self._record(
                Opened(
                    run_id=run.run_id,
                    epoch=position.epoch,
                    writer=writer_name(),
                    at=clock.time_ns(),
                    sealed_bytes=position.sealed_bytes,
                )
            )

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
        RunNameError, FrameError
            If the name or the geometry cannot be a run's.
        StorageError
            If the folder cannot be made.
        """
        path = Path(path).absolute()
        layout.check_run_name(path.name)
        layout.check_geometry(geometry)
        if frames_per_block < 1:
            raise FrameError(f"a block of {frames_per_block} frames cannot be; use 1 or more")
        if path.exists() or path.is_symlink():
            raise RunExistsError(
                f"{path} exists already: give the run another name, or remove what is there"
            )
        run = RunLayout(
            run_id=str(uuid.uuid4()),
            name=path.name,
            created=datetime.fromtimestamp(clock.time_ns() / 1e9, UTC).isoformat(),
            geometry=geometry,
            frames_per_block=frames_per_block,
            compression=Compression(compression),
            metadata=metadata or ImageMetadata(),
        )
        with durable.storage_errors(f"the run {path}"):
            lock = make_folder(path, run)
        try:
            return cls(path, lock, run, _Position(), clock)
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
        run = read_layout(path)
        with durable.storage_errors(f"the run {path}"):
            lock = WriterLock(path / layout.LOCK, run=path)
            try:
                history = replay(Objects(LocalStore(path, read_only=True)))
                if history.closed:
                    raise RunExistsError(f"{path} is closed and whole: start another run")
                quarantine(path, run, blocks=len(history.blocks), epoch=history.epoch)
                writer = cls(path, lock, run, _Position.after(history), clock)
                writer._grow()
            except BaseException:
                lock.release()
                raise
        return writer

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
        first, following = self._at.first_counter, self._at.next_counter
        return 0 if first is None or following is None else following - first

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
        self._check(frame)
        self._count(frame.counter, frame.counter)
        self._frames[self._held] = frame.data
        self._along["timestamp"][self._held] = frame.timestamp
        self._along["frame_id"][self._held] = frame.counter
        self._along["flags"][self._held] = frame.flags
        self._held += 1
        return self._commit() if self._held == self._layout.frames_per_block else None

    def drop(self, first: int, last: int, *, reason: str) -> None:
        """Write down that the frames with the counters from `first` to `last` are lost.

        They are part of the next block's record.

        Raises
        ------
        FrameError
            If the counters do not follow the last one that was taken.
        """
        following = self._at.next_counter
        if last < first or (following is not None and first < following):
            raise FrameError(
                f"cannot drop the frames {first} to {last}: the next counter is {following}"
            )
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
            if self._failed:
                return
            if self._held:
                self._commit()
            with durable.storage_errors(f"the end of {self._path}"):
                self._record(
                    Closed(
                        counted=self.counted,
                        committed=self.committed,
                        dropped_count=self.dropped,
                        dropped=tuple(self._dropped),
                        reason=reason,
                        at=self._clock.time_ns(),
                    )
                )
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

    def _check(self, frame: Frame) -> None:
        if self._failed:
            raise StorageError(f"the writer of {self._path} has ended; resume the run")
        geometry, data = self._layout.geometry, frame.data
        if data.shape != geometry.shape or data.dtype != geometry.dtype:
            raise FrameError(
                f"frame {frame.counter} has the shape {data.shape} and the dtype {data.dtype}; "
                f"the run has {geometry.shape} and {geometry.dtype}: start another run for it"
            )
        if frame.counter < 0:
            raise FrameError(f"the frame's counter is {frame.counter}; it cannot be below 0")
        following = self._at.next_counter
        if following is not None and frame.counter < following:
            raise FrameError(
                f"frame {frame.counter} comes again or too late: {following} was the next; the "
                "camera's counter must go up"
            )

    def _count(self, first: int, last: int) -> None:
        """Move the counter on, and write down what is jumped over."""
        following = self._at.next_counter
        if following is not None and first > following:
            self._note(Dropped(following, first - 1, NOT_DELIVERED, self._clock.time_ns()))
        if self._at.first_counter is None:
            self._at.first_counter = first
        self._at.next_counter = last + 1

    def _note(self, dropped: Dropped) -> None:
        self._at.dropped += dropped.count
        before = self._dropped[-1] if self._dropped else None
        if before and before.last + 1 == dropped.first and before.reason == dropped.reason:
            dropped = Dropped(before.first, dropped.last, before.reason, before.at)
            self._dropped.pop()
        self._dropped.append(dropped)

    def _commit(self) -> Block:
        number, start, held = self._at.blocks, self._at.frames, self._held
        what = f"block {number} of {self._path} (the {start} frames before it stay readable)"
        # A write or a flush that failed is not tried again: what the system then says of that
        # file cannot be believed.  The writer ends, and `resume` starts from the log.
        self._failed = True
        with durable.storage_errors(what):
            block = Block(
                number=number,
                extent=Extent(start, start + held),
                frame_ids=self._ends("frame_id"),
                timestamps=self._ends("timestamp"),
                dropped=tuple(self._dropped),
                objects=tuple(self._store(number)),
            )
            self._record(block)
            self._at.blocks += 1
            self._at.frames += held
            self._held = 0
            self._dropped = []
            self._grow()
        self._failed = False
        stored = sum(each.bytes for each in block.objects)
        fields = {"run": self._layout.name, "block": number, "frames": held, "bytes": stored}
        _log.info("block committed", extra=fields)
        return block

    def _ends(self, name: str) -> tuple[int, int]:
        values = self._along[name]
        return int(values[0]), int(values[self._held - 1])

    def _store(self, number: int) -> Iterable[StoredObject]:
        """Write the objects of a block, each flushed and named before the next."""
        for name, values in self._along.items():
            stored = values.astype(values.dtype.newbyteorder("<"))
            stored[self._held :] = 0
            raw = stored.tobytes()
            yield self._store_object(name, number, [raw, crc32c(raw)])
        shard = encode_shard(
            self._frames[: self._held],
            slots=self._layout.frames_per_block,
            compression=self._layout.compression,
        )
        yield self._store_object(FRAMES, number, shard)

    def _store_object(
        self, array: str, number: int, parts: Iterable[memoryview | bytes]
    ) -> StoredObject:
        temporary = self._path / layout.TEMPORARY / f"{array}-{number}"
        key = self._layout.object_key(array, number)
        size, digest = durable.write_aside(temporary, parts)
        durable.publish(temporary, self._path / key)
        return StoredObject(key=key, bytes=size, blake3=digest)

    def _record(self, record: Record) -> None:
        line = encode_line(record, previous=self._at.digest)
        self._log.append(line)
        self._at.digest = line_digest(line)

    def _grow(self) -> None:
        """Show the committed frames to readers that know nothing of the log."""
        frames = self._at.frames
        for name, document in self._layout.array_documents(frames).items():
            self._replace_document(f"{name}/{layout.METADATA}", document)
        # The group comes last: where it says that frames are there, all arrays have them.
        self._replace_document(layout.METADATA, self._layout.group_document(frames))

    def _replace_document(self, key: str, document: dict[str, Any]) -> None:
        temporary = self._path / layout.TEMPORARY / "document"
        durable.replace(temporary, self._path / key, json.dumps(document).encode())


def _counters(block: Block) -> list[int]:
    """Return the counters at the ends of a block, with what was dropped before and within it."""
    ends = [counter for each in block.dropped for counter in (each.first, each.last)]
    return [*block.frame_ids, *ends]
