"""Whether what was read of an object is what was put there, as far as a part of it can tell."""

import asyncio

import crc32c
from blake3 import blake3
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer

from forebay.acquisition.format.layout import FRAMES
from forebay.tiering.reading.signpost import KnownObject

_CRC_BYTES = 4
_SHARD = f"{FRAMES}/c."
_WORTH_A_THREAD = 2**20
"""Bytes from which on a digest takes longer than to hand it to another thread."""


async def is_right(
    key: str, found: Buffer, known: KnownObject, byte_range: ByteRequest | None
) -> bool:
    """Tell whether what was read is as it was put there, as far as that can be seen."""
    if byte_range is None:
        return await is_whole(found, known)
    if can_be_checked(key, byte_range):
        # A frame's bytes, and the shard's index, end in their checksum.
        content = memoryview(found.as_numpy_array()).cast("B")
        stored = int.from_bytes(content[-_CRC_BYTES:], "little")
        return len(content) > _CRC_BYTES and crc32c.crc32c(content[:-_CRC_BYTES]) == stored
    return True


async def is_whole(found: Buffer, known: KnownObject) -> bool:
    """Tell whether the bytes of an object, all of them, are those that it is known by."""
    if len(found) != known.bytes:
        return False
    content = memoryview(found.as_numpy_array()).cast("B")
    if len(content) < _WORTH_A_THREAD:
        return str(blake3(content).hexdigest()) == known.blake3
    # All reads of a process share the thread of Zarr's loop; digests need not wait for each other.
    digest = await asyncio.to_thread(lambda: blake3(content).hexdigest())
    return str(digest) == known.blake3


def can_be_checked(key: str, byte_range: ByteRequest | None) -> bool:
    """Tell whether what is read says by itself whether it is right."""
    return byte_range is None or (
        key.startswith(_SHARD) and isinstance(byte_range, RangeByteRequest | SuffixByteRequest)
    )


def name_of_part(known: KnownObject, byte_range: ByteRequest | None) -> str:
    """Return what a cache calls a part of an object, the same wherever it was read."""
    match byte_range:
        case None:
            start, stop = 0, known.bytes
        case RangeByteRequest(start=start, end=end):
            stop = min(end, known.bytes)
        case SuffixByteRequest(suffix=suffix):
            start, stop = max(0, known.bytes - suffix), known.bytes
        case _:
            start, stop = byte_range.offset, known.bytes
    return f"{known.blake3}:{start}-{stop}"


def part_of(content: bytes, byte_range: ByteRequest | None) -> bytes:
    """Return what a request asks for of an object's bytes."""
    match byte_range:
        case None:
            return content
        case RangeByteRequest(start=start, end=end):
            return content[start:end]
        case SuffixByteRequest(suffix=suffix):
            return content[-suffix:] if suffix else b""
        case _:
            return content[byte_range.offset :]
