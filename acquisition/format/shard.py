"""A block's frames as one Zarr v3 shard: every frame an inner chunk, then the index.

The layout is that of the ``sharding_indexed`` codec with the index at the end: the frames' stored
bytes one after the other, each followed by its CRC-32C, and by zeros where frames begin on pages;
then for each frame its offset and its length as two little-endian 64-bit integers; then the
CRC-32C of that index.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.codec import CRC_BYTES, Compression, checked, crc32c

_ABSENT = np.iinfo(np.uint64).max
_ENTRY = np.dtype([("offset", "<u8"), ("bytes", "<u8")])

_PART_BYTES = 4 * 2**20
"""What the processor keeps at hand from one computation to the next; each hands the interpreter
over several times, so that parts of a quarter of this leave cores waiting for it."""

type ReadRange = Callable[[int, int], memoryview]
"""Reads so many bytes from an offset of a shard."""


class ShardEncoder:
    """Turns frames into the bytes of a shard, one after the other as they come.

    Parameters
    ----------
    slots
        Frames that a whole block has; the index of a shorter one marks the rest as absent.
    compression
        How a frame's bytes are packed.
    """

    def __init__(self, *, slots: int, compression: Compression) -> None:
        self._index = np.full(slots, np.array((_ABSENT, _ABSENT), dtype=_ENTRY))
        self._compression = compression
        self._count = 0
        self._offset = 0

    @property
    def in_place(self) -> bool:
        """Whether frames are stored as they lie in memory."""
        return self._compression.name == "none"

    def add(self, pixels: npt.NDArray[Any], stored: memoryview) -> Iterator[memoryview | bytes]:
        """Yield the bytes that the next frame is stored as, a part at a time.

        Parameters
        ----------
        pixels
            The frame, little-endian.
        stored
            The memory in which it lies, with room for its checksum behind the pixels and zeros
            behind that.  Where frames are not compressed, the checksum is put in and parts of this
            very memory yielded, so that nothing is copied.
        """
        if self.in_place:
            size = pixels.nbytes
            self._place(size + CRC_BYTES, taking=stored.nbytes)
            yield from _checked_parts(stored, size)
            return
        packed = self._compression.pack(pixels)
        self._place(packed.nbytes + CRC_BYTES, taking=packed.nbytes + CRC_BYTES)
        yield packed
        yield crc32c(packed)

    def finish(self) -> list[memoryview | bytes]:
        """Return the index, which ends the shard."""
        table = self._index.tobytes()
        return [table, crc32c(table)]

    def _place(self, length: int, *, taking: int) -> None:
        self._index[self._count] = (self._offset, length)
        self._count += 1
        self._offset += taking


def _checked_parts(stored: memoryview, size: int) -> Iterator[memoryview]:
    """Yield memory in parts, and put the checksum of its first `size` bytes behind them."""
    checksum = bytes(CRC_BYTES)
    begin = 0
    while size - begin >= 2 * _PART_BYTES:
        part = stored[begin : begin + _PART_BYTES]
        checksum = crc32c(part, checksum)
        yield part
        begin += _PART_BYTES
    stored[size : size + CRC_BYTES] = crc32c(stored[begin:size], checksum)
    yield stored[begin:]


def index_bytes(slots: int) -> int:
    """Return the length of a shard's index, in bytes."""
    return slots * _ENTRY.itemsize + CRC_BYTES


def decode_shard(
    read: ReadRange,
    *,
    size: int,
    slots: int,
    selection: range,
    out: npt.NDArray[Any],
    compression: Compression,
    where: str,
) -> None:
    """Fill `out` with the selected frames of a shard.

    Parameters
    ----------
    read
        Gives a range of the shard's bytes.
    size
        Length of the shard in bytes.
    slots
        Frames that a whole block has.
    selection
        Positions of the wanted frames within the block, going up.
    out
        Array for them, along its first axis.
    compression
        How a frame's bytes are packed.
    where
        The shard's name, for messages.

    Raises
    ------
    RunDamagedError
        If the index or a wanted frame is missing or has changed.
    """
    length = index_bytes(slots)
    if size < length:
        raise RunDamagedError(f"{where}: {size} bytes are too few for a shard of {slots} frames")
    table = checked(read(size - length, length), what=f"{where}: index of the shard")
    index = np.frombuffer(table, dtype=_ENTRY)
    for target, position in zip(out, selection, strict=True):
        offset, stored = (int(value) for value in index[position])
        what = f"{where}: frame {position} of the block"
        if offset == _ABSENT or offset + stored > size - length:
            raise RunDamagedError(f"{what} is missing from the shard")
        packed = checked(read(offset, stored), what=what)
        try:
            compression.unpack(packed, target)
        except (ValueError, RuntimeError) as error:
            raise RunDamagedError(f"{what} cannot be unpacked: {error}") from error
