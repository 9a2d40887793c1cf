"""A block in flight: its frames as they come, and the objects that they become."""

import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from forebay.acquisition import durable
from forebay.acquisition.errors import StorageError
from forebay.acquisition.format.codec import crc32c
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout
from forebay.acquisition.format.record import Block, Dropped, Extent
from forebay.acquisition.format.shard import ShardEncoder, index_bytes
from forebay.acquisition.memory.slots import FrameRoom, rows, stored_bytes
from forebay.acquisition.storage.storage import ObjectWriter, RunStorage

_WORTH_WRITING = 4 * 2**20
"""Bytes that are written at a time, at the least, and that small frames are digested in together."""


class BlockInFlight:
    """The frames of one block: some there, some still to come, until it is sealed.

    One thread adds and seals; another one may store it meanwhile.

    Parameters
    ----------
    run
        What the blocks of the run have in common.
    number
        Place of the block in the run.
    """

    def __init__(self, run: RunLayout, number: int) -> None:
        self.run = run
        self.number = number
        self._frames: list[FrameRoom] = []
        self.dropped: tuple[Dropped, ...] = ()
        """What was dropped since the block before, and within this one."""
        self._along = {
            name: np.zeros(run.frames_per_block, dtype) for name, dtype in COORDINATES.items()
        }
        self._changed = threading.Condition()
        self._unannounced = 0
        self._sealed = self._given_up = False

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    @property
    def last_counter(self) -> int:
        """Counter of the last frame that is there."""
        return self._ends("frame_id")[1]

    @property
    def full(self) -> bool:
        """Whether it is a whole block."""
        return len(self._frames) == self.run.frames_per_block

    def add(self, frame: FrameRoom, *, counter: int, timestamp: int, flags: int) -> None:
        """Take a frame in, which stays where it is until the block is durable."""
        place = len(self._frames)
        self._along["timestamp"][place] = timestamp
        self._along["frame_id"][place] = counter
        self._along["flags"][place] = flags
        with self._changed:
            self._frames.append(frame)
            self._unannounced += frame.stored.nbytes
            # Small frames are written together: waking somebody costs more than they do.
            if self._unannounced >= _WORTH_WRITING or self.full:
                self._unannounced = 0
                self._changed.notify_all()

    def seal(self, dropped: Sequence[Dropped]) -> None:
        """Say that no frame comes any more, and what was dropped up to the last one."""
        with self._changed:
            self.dropped = tuple(dropped)
            self._sealed = True
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let whoever stores the block end with an error."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def _arriving(self) -> Iterator[Iterator[Sequence[FrameRoom]]]:
        """Yield all frames until the block is sealed: each time those that are there.

        Those that come while these are taken are among them.
        """
        taken = 0

        def at_hand(frames: Sequence[FrameRoom]) -> Iterator[Sequence[FrameRoom]]:
            nonlocal taken
            while frames:
                taken += len(frames)
                yield frames
                frames = self._frames[taken:]

        while frames := self._frames_behind(taken):
            yield at_hand(frames)

    def _frames_behind(self, taken: int) -> Sequence[FrameRoom]:
        """Wait for the frames behind the first `taken`; return none when there will be none."""
        with self._changed:
            # Whoever adds seals or gives up at last, whatever happens.
            self._changed.wait_for(
                lambda: len(self._frames) > taken or self._sealed or self._given_up
            )
            if self._given_up:
                raise StorageError(f"block {self.number} was given up")
            return self._frames[taken:]

    def store(self, storage: RunStorage) -> Block:
        """Write the objects of the block, each of them durable; return its record.

        The frames are written while they come.

        Raises
        ------
        OSError
            If an object cannot be written; none is left behind, and it can be tried again.
        """
        with contextlib.ExitStack() as begun:
            frames = self._write_frames(storage, begun)
            along = [self._write_along(storage, name, begun) for name in COORDINATES]
            objects = durable.together([target.finish for target in (*along, frames)])
            begun.pop_all()
        start = self.number * self.run.frames_per_block
        return Block(
            number=self.number,
            extent=Extent(start, start + len(self)),
            frame_ids=self._ends("frame_id"),
            timestamps=self._ends("timestamp"),
            dropped=self.dropped,
            objects=tuple(objects),
        )

    def _write_frames(self, storage: RunStorage, begun: contextlib.ExitStack) -> ObjectWriter:
        run = self.run
        encoder = ShardEncoder(slots=run.frames_per_block, compression=run.compression)
        key = run.object_key(FRAMES, self.number)
        # A short block that is written again needs no more room than its frames do.
        frames = len(self) if self._sealed else run.frames_per_block
        expected = _expected_bytes(run, frames)
        target = storage.new_object(key, expected_bytes=expected, large=True)
        begun.callback(target.discard)
        for arriving in self._arriving():
            target.write(part for frames in arriving for part in _parts(encoder, frames))
        target.write(encoder.finish())
        return target

    def _write_along(
        self, storage: RunStorage, name: str, begun: contextlib.ExitStack
    ) -> ObjectWriter:
        values = self._along[name]
        raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        target = storage.new_object(self.run.object_key(name, self.number))
        begun.callback(target.discard)
        target.write([raw, crc32c(raw)])
        return target

    def _ends(self, name: str) -> tuple[int, int]:
        values = self._along[name]
        return int(values[0]), int(values[len(self) - 1])


def _parts(encoder: ShardEncoder, frames: Sequence[FrameRoom]) -> Iterator[memoryview | bytes]:
    """Yield the bytes that frames are stored as, those of small neighbours in one piece."""
    for row in rows(frames, most=_WORTH_WRITING):
        added = (encoder.add(frame.pixels, frame.stored) for frame in row)
        parts = itertools.chain.from_iterable(added)
        if len(row) == 1 or not encoder.in_place:
            yield from parts
        else:
            size = sum(map(len, parts))
            yield row[0].memory[row[0].begin : row[0].begin + size]


def _expected_bytes(run: RunLayout, frames: int) -> int:
    """Return the length of a shard of so many frames, or 0 where only packing tells."""
    if run.compression.name != "none":
        return 0
    return frames * stored_bytes(run.geometry) + index_bytes(run.frames_per_block)
