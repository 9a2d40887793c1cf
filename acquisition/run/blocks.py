"""The arrays of a run as something that can be sliced, block by block, every byte checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from zarr.core.buffer import BufferPrototype

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.codec import checked
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import Block, StoredObject
from forebay.acquisition.format.shard import decode_shard
from forebay.acquisition.memory.pinned import pinned_memory_for


@dataclass(frozen=True, slots=True)
class BlockArray:
    """One array of a run along its committed blocks.

    Slicing reads what is asked for.  A whole block is compared with the digest in the log; single
    frames of one are checked by their own CRC-32C.

    Raises
    ------
    RunDamagedError
        When slicing meets an object that is missing, short, or not what was committed.
    """

    name: str
    """``frames``, or the name of a coordinate."""
    layout: RunLayout
    """What the blocks have in common."""
    blocks: Sequence[Block]
    """The blocks to read, in order and without a gap between them."""
    objects: Objects
    """Where the blocks lie."""
    prototype: BufferPrototype | None = None
    """Zarr's way to the memory where what is read is to be, as a GPU's; None for the host's."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.layout.geometry.dtype if self.name == FRAMES else COORDINATES[self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        along = self.blocks[-1].extent.stop - self.blocks[0].extent.start if self.blocks else 0
        return (along, *(self.layout.geometry.shape if self.name == FRAMES else ()))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        """Read a part of the array: a NumPy array, or what the prototype makes."""
        keys = key if isinstance(key, tuple) else (key,)
        along, rest = keys[0], keys[1:]
        if isinstance(along, int | np.integer):
            one = range(self.shape[0])[along : along + 1 or None]
            return self._placed(np.asarray(self._read(one)[(0, *rest)]))
        positions = range(*along.indices(self.shape[0]))
        return self._placed(self._read(positions)[(slice(None), *rest)])

    def empty(self) -> Any:
        """Return an array without values where those that are read will be."""
        return self._placed(np.empty((0,) * self.ndim, self.dtype))

    def _placed(self, pixels: npt.NDArray[Any]) -> Any:
        """Return what was read and checked in the host's memory where it is to be."""
        if self.prototype is None:
            return pixels
        pinned = pinned_memory_for(self.prototype)
        if pinned is not None:
            pixels = pinned.contiguous(pixels)
        return self.prototype.nd_buffer.from_numpy_array(pixels).as_ndarray_like()

    def _read(self, positions: range) -> npt.NDArray[Any]:
        if positions.step < 0:
            return self._read(positions[::-1])[::-1]
        shape = (len(positions), *self.shape[1:])
        pinned = pinned_memory_for(self.prototype)
        # What goes to a GPU is decoded where the GPU fetches it.
        out = np.empty(shape, self.dtype) if pinned is None else pinned.empty(shape, self.dtype)
        first = self.blocks[0].extent.start if self.blocks else 0
        wanted = range(positions.start + first, positions.stop + first, positions.step)
        filled = 0
        for block, within in _parts(self.blocks, wanted, self.layout.frames_per_block):
            self._read_block(block, within, out[filled : filled + len(within)])
            filled += len(within)
        if filled != len(wanted):
            raise RunDamagedError(
                f"only {filled} of {len(wanted)} frames lie in the blocks of "
                f"{self.objects.where(self.name)}: its blocks do not follow each other"
            )
        return out

    def _read_block(self, block: Block, within: range, out: npt.NDArray[Any]) -> None:
        key = self.layout.object_key(self.name, block.number)
        (stored,) = [each for each in block.objects if each.key == key]
        where = f"block {block.number}: {self.objects.where(key)}"
        if self.name != FRAMES:
            content = checked(memoryview(self.whole(block, stored)), what=where)
            out[...] = np.frombuffer(content, self.dtype.newbyteorder("<"))[_slice(within)]
            return
        if len(within) == len(block.extent):
            content = memoryview(self.whole(block, stored))
            read = _ranges_of(content)
        else:
            self.check_size(block, stored)

            def read(start: int, length: int) -> memoryview:
                return self.objects.read_range(key, start, length)

        decode_shard(
            read,
            size=stored.bytes,
            slots=self.layout.frames_per_block,
            selection=within,
            out=out,
            compression=self.layout.compression,
            where=where,
        )

    def whole(self, block: Block, stored: StoredObject) -> bytes:
        """Read an object and compare it with its digest."""
        where = f"block {block.number}: {self.objects.where(stored.key)}"
        content, digest = self.objects.read_with_digest(stored.key)
        if content is None:
            raise RunDamagedError(f"{where} is missing; {_frames(block)} cannot be read")
        if len(content) != stored.bytes:
            raise RunDamagedError(
                f"{where} has {len(content)} bytes instead of {stored.bytes}; {_frames(block)} "
                "cannot be trusted"
            )
        if (digest or blake3(content).hexdigest()) != stored.blake3:
            raise RunDamagedError(
                f"{where} has changed since it was committed; {_frames(block)} cannot be trusted"
            )
        return content

    def check_size(self, block: Block, stored: StoredObject) -> None:
        """Compare an object's length with the log's."""
        size = self.objects.size(stored.key)
        if size != stored.bytes:
            where = f"block {block.number}: {self.objects.where(stored.key)}"
            found = "is missing" if size is None else f"has {size} bytes, not {stored.bytes}"
            raise RunDamagedError(f"{where} {found}; {_frames(block)} cannot be trusted")


def _frames(block: Block) -> str:
    return f"its frames {block.extent.start} to {block.extent.stop - 1}"


def _slice(positions: range) -> slice:
    return slice(positions.start, positions.stop, positions.step)


def _ranges_of(content: memoryview) -> Any:
    def read(start: int, length: int) -> memoryview:
        return content[start : start + length]

    return read


def _parts(blocks: Sequence[Block], wanted: range, whole: int) -> Iterator[tuple[Block, range]]:
    """Yield each block that holds wanted frames, and which of its frames those are.

    All but the last one of a run have as many frames, so that no others are looked at.
    """
    if not (wanted and blocks):
        return
    holding = (wanted[0] - blocks[0].extent.start) // whole
    for place in range(max(0, holding), len(blocks)):
        block = blocks[place]
        begin, end = block.extent.start, block.extent.stop
        if begin > wanted[-1]:
            return
        # The first wanted frame at or behind the block's begin, and the first behind its end.
        lowest = max(0, -(-(begin - wanted.start) // wanted.step))
        highest = min(len(wanted), -(-(end - wanted.start) // wanted.step))
        taken = wanted[lowest:highest]
        if taken:
            yield block, range(taken.start - begin, taken[-1] - begin + 1, taken.step)
