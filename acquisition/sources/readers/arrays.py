"""Frames along the first axis of an array in a file."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.sources.messages import reading, shown
from forebay.acquisition.sources.readers.reader import geometry_of, native

BLOCK_BYTES = 256 * 1024**2
"""Most bytes of neighbouring frames that are decoded at once."""


class Sliceable(Protocol):
    """What an array of Zarr, HDF5 and NumPy have in common."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Lengths of the axes; None for an HDF5 dataset without any data."""

    @property
    def dtype(self) -> Any:
        """Type of an element."""

    def __getitem__(self, key: slice, /) -> Any:
        """Read a part along the first axis."""


class ArrayReader:
    """Frames along the first axis of an array: (t, y, x) or (t, c, y, x).

    Parameters
    ----------
    array
        The array; it stays where it is and is read as frames are asked for.
    where
        What error messages call the array.
    depth
        Frames in a chunk.  They are decoded together and the last such block is kept, as far as
        it has no more than `BLOCK_BYTES`, so that going on through the frames decodes no chunk
        twice.
    metadata
        What the file says of the instrument.

    Raises
    ------
    SourceError
        If the array has another number of axes, no frames or a type that pixels cannot be.
    """

    def __init__(
        self, array: Sliceable, where: str, depth: int, metadata: ImageMetadata | None = None
    ) -> None:
        if array.shape is None or len(array.shape) not in (3, 4):
            axes = len(array.shape or ())
            raise SourceError(
                f"{where} has {axes} axes, {shown(tuple(array.shape or ()))}; frames are "
                "(t, y, x) or (t, c, y, x): choose another array or reshape this one"
            )
        dtype = native(np.dtype(array.dtype), where)
        pixel = np.empty((), dtype)
        self._geometry = geometry_of(np.broadcast_to(pixel, array.shape[1:]), where)
        self._count = int(array.shape[0])
        if not self._count:
            raise SourceError(f"{where} holds no frames; give a recording that has some")
        self._array: Sliceable | None = array
        self._where = where
        self._depth = max(1, min(depth, BLOCK_BYTES // self._geometry.frame_bytes))
        self._block: npt.NDArray[Any] | None = None
        self._block_at = -1
        self._metadata = metadata or ImageMetadata()

    @property
    def geometry(self) -> Geometry:
        """The layout of a frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the file says of the instrument."""
        return self._metadata

    def __len__(self) -> int:
        """Count the frames."""
        return self._count

    def read(self, index: int) -> npt.NDArray[Any]:
        """Decode a frame, with its neighbours where they share a chunk."""
        if self._array is None:
            raise SourceError(f"{self._where} is closed; open the source anew")
        at = index // self._depth
        if self._block is None or at != self._block_at:
            self._block = None
            with reading(self.name(index)):
                part = self._array[at * self._depth : (at + 1) * self._depth]
                self._block = np.asarray(part)
            self._block_at = at
        return np.array(self._block[index % self._depth], self._geometry.dtype, order="C")

    def name(self, index: int) -> str:
        """Return the frame's number and array."""
        return f"frame {index} of {self._where}"

    def close(self) -> None:
        """Let go of the array."""
        self._array = self._block = None


def open_npy(path: Path) -> ArrayReader:
    """Open a ``.npy`` file as a memory map; pickled objects are refused.

    Raises
    ------
    SourceError
        If it is no such file, is cut off, or does not hold frames.
    """
    remedy = "save the frames as one numeric array with numpy.save"
    with reading(path, remedy):
        with path.open("rb") as file:
            if not file.read(6).startswith(b"\x93NUMPY"):
                raise ValueError("it is not a .npy file")
        array = np.lib.format.open_memmap(path, mode="r")
    return ArrayReader(array, shown(path), 1)
