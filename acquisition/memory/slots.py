"""Room for frames, each laid out as it will be stored: pixels, CRC-32C, and zeros behind it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from forebay.acquisition.format.codec import CRC_BYTES, WORTH_OTHER_THREADS
from forebay.acquisition.frames import Geometry
from forebay.acquisition.memory.mapping import Mapping

PAGE = 4096
_PAGE_WORTH = 2**17
"""Frames of at least so many bytes begin on a page, in memory and in a shard: that costs three per
cent at the most, and lets the system write them from where they lie."""
_LINE = 64


class FrameRoom(NamedTuple):
    """Room for one frame."""

    pixels: npt.NDArray[Any]
    """The pixels, little-endian, to be read or written."""
    stored: memoryview
    """The bytes that the frame is stored as where it is not compressed: pixels, CRC-32C, zeros."""
    memory: memoryview
    """The memory in which they lie, and other frames beside them."""
    begin: int
    """Where in it they begin."""

    def fill(self, pixels: npt.NDArray[Any]) -> None:
        """Copy a frame's pixels in."""
        small = pixels.nbytes < WORTH_OTHER_THREADS
        if small and pixels.flags.c_contiguous and pixels.dtype == self.pixels.dtype:
            # NumPy would let other threads run, and wait for its turn longer than this takes.
            self.stored[: pixels.nbytes] = memoryview(pixels).cast("B")
        else:
            self.pixels[...] = pixels


def rows(frames: Sequence[FrameRoom], *, most: int) -> Iterator[Sequence[FrameRoom]]:
    """Yield frames that lie one right behind the other together, so many bytes at the most.

    A frame of more than that comes alone.
    """
    first = size = 0
    for place, frame in enumerate(frames):
        beside = frame.memory is frames[first].memory and frame.begin == frames[first].begin + size
        if place > first and not (beside and size + frame.stored.nbytes <= most):
            yield frames[first:place]
            first, size = place, 0
        size += frame.stored.nbytes
    if frames:
        yield frames[first:]


def _alignment(geometry: Geometry) -> int:
    return PAGE if geometry.frame_bytes >= _PAGE_WORTH else 1


def stored_bytes(geometry: Geometry) -> int:
    """Return the bytes that an uncompressed frame takes in a shard."""
    return _rounded_up(geometry.frame_bytes + CRC_BYTES, _alignment(geometry))


class FrameSlots:
    """Slots for frames, one after the other in one piece of memory.

    Parameters
    ----------
    geometry
        The layout of a frame.
    count
        Number of slots.
    shared
        Whether another process will write into them.
    expected
        How many of them will be used, the first ones first, where that is known: the others take no
        memory.

    Raises
    ------
    SourceError
        If there is not so much memory.
    """

    def __init__(
        self, geometry: Geometry, count: int, *, shared: bool = False, expected: int | None = None
    ) -> None:
        self.geometry = geometry
        """The layout of a frame."""
        self.count = count
        """Number of slots."""
        size = geometry.frame_bytes
        self._stored_bytes = stored_bytes(geometry)
        self.stride = _rounded_up(self._stored_bytes, _LINE)
        """Bytes from one slot to the next."""
        what = f"a buffer of {count} frames"
        used = None if expected is None else expected * self.stride
        self.mapping = Mapping(count * self.stride, what=what, shared=shared, used=used)
        """The memory."""
        little = geometry.dtype.newbyteorder("<")
        self._stored = memoryview(self.mapping.bytes)
        pixels = self.mapping.bytes[: count * self.stride].reshape(count, self.stride)[:, :size]
        self._pixels: npt.NDArray[Any] = pixels.view(little).reshape(count, *geometry.shape)

    def __getitem__(self, slot: int) -> FrameRoom:
        """Return the room of one frame."""
        begin = slot * self.stride
        stored = self._stored[begin : begin + self._stored_bytes]
        return FrameRoom(self._pixels[slot], stored, self._stored, begin)

    def release(self) -> None:
        """Give the memory back, when nobody works with any room; there are no slots then."""
        self.mapping.release()
        self._stored = memoryview(b"")
        self._pixels = np.empty((0, *self.geometry.shape), self._pixels.dtype)


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
