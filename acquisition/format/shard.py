"""A block's frames as one Zarr v3 shard: every frame an inner chunk, then the index.

The layout is that of the ``sharding_indexed`` codec with the index at the end: the frames' stored
bytes one after the other, each followed by its CRC-32C; then for each frame its offset and its
length as two little-endian 64-bit integers; then the CRC-32C of that index.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.codec import CRC_BYTES, Compression, checked, crc32c

_ABSENT = np.iinfo(np.uint64).max
_ENTRY = np.dtype([("offset", "<u8"), ("bytes", "<u8")])

type ReadRange = Callable[[int, int], memoryview]
"""Reads so many bytes from an offset of a shard."""


def encode_shard(
    frames: npt.NDArray[Any], *, slots: int, compression: Compression
) -> Iterator[memoryview | bytes]:
    """Yield the parts of a shard in the order in which they are stored.

    Parameters
    ----------
    frames
        The frames of the block, along the first axis.
    slots
        Frames that a whole block has; the index of a shorter one marks the rest as absent.
    compression
        How a frame's bytes are packed.
    """
    index = np.full(slots, np.array((_ABSENT, _ABSENT), dtype=_ENTRY))
    offset = 0
    for position, frame in enumerate(frames):
        packed = compression.pack(frame)
        yield packed
        yield crc32c(packed)
        length = packed.nbytes + CRC_BYTES
        index[position] = (offset, length)
        offset += length
    table = index.tobytes()
    yield table
    yield crc32c(table)


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
