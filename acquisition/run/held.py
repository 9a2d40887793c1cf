"""The frames of the block in flight: held until they are enough, then written as its objects."""

from collections.abc import Iterable, Iterator

import numpy as np

from forebay.acquisition.errors import FrameError
from forebay.acquisition.format.codec import crc32c
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout
from forebay.acquisition.format.shard import encode_shard
from forebay.acquisition.frames import Frame


class HeldFrames:
    """Room for the frames of one block, and what goes along with them."""

    def __init__(self, run: RunLayout) -> None:
        slots, geometry = run.frames_per_block, run.geometry
        try:
            self._frames = np.empty((slots, *geometry.shape), geometry.dtype)
            self._along = {name: np.zeros(slots, dtype) for name, dtype in COORDINATES.items()}
        except (MemoryError, ValueError) as error:
            raise FrameError(
                f"a block of {slots} frames of {geometry.frame_bytes} bytes does not fit into "
                "memory: take fewer frames per block"
            ) from error
        self._run = run
        self._count = 0

    def __len__(self) -> int:
        """Return the number of frames that are held."""
        return self._count

    @property
    def full(self) -> bool:
        """Whether they are a whole block."""
        return self._count == self._run.frames_per_block

    def add(self, frame: Frame) -> None:
        """Copy a frame in."""
        self._frames[self._count] = frame.data
        self._along["timestamp"][self._count] = frame.timestamp
        self._along["frame_id"][self._count] = frame.counter
        self._along["flags"][self._count] = frame.flags
        self._count += 1

    def clear(self) -> None:
        """Hold nothing any more."""
        self._count = 0

    def ends(self, name: str) -> tuple[int, int]:
        """Return the first and the last value of a coordinate."""
        values = self._along[name]
        return int(values[0]), int(values[self._count - 1])

    def objects(self) -> Iterator[tuple[str, Iterable[memoryview | bytes]]]:
        """Yield the array and the stored bytes of each object of the block, the frames last."""
        for name, values in self._along.items():
            stored = values.astype(values.dtype.newbyteorder("<"))
            stored[self._count :] = 0
            raw = stored.tobytes()
            yield name, [raw, crc32c(raw)]
        yield (
            FRAMES,
            encode_shard(
                self._frames[: self._count],
                slots=self._run.frames_per_block,
                compression=self._run.compression,
            ),
        )
