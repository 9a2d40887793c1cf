"""The protocol of a reader, and what every reader checks."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.sources.messages import shown

COLOURS = ("red", "green", "blue")
"""Names of the channels of a colour image."""

_MAX_ITEMSIZE = 8


class Reader(Protocol):
    """Recorded frames in a known order; used from one thread at a time."""

    @property
    def geometry(self) -> Geometry:
        """The layout of the first frame, which the others must have too."""

    @property
    def metadata(self) -> ImageMetadata:
        """What the recording itself says of the instrument."""

    def __len__(self) -> int:
        """Count the frames of the recording."""

    def read(self, index: int) -> npt.NDArray[Any]:
        """Decode a frame into an array that the caller owns, in the machine's byte order."""

    def name(self, index: int) -> str:
        """Return what an error message calls a frame, with the path of its file."""

    def close(self) -> None:
        """Free what the reader holds; may be called twice."""


def native(dtype: np.dtype[Any], what: object) -> np.dtype[Any]:
    """Return a pixel type in the machine's byte order.

    Raises
    ------
    SourceError
        If pixels cannot be of that type.
    """
    if dtype.kind not in "uif" or dtype.itemsize > _MAX_ITEMSIZE or dtype.shape:
        raise SourceError(
            f"{shown(what)} has pixels of type {shown(dtype)}; forebay takes integers and real "
            "numbers of 8 to 64 bits: convert the recording"
        )
    return dtype.newbyteorder("=")


def geometry_of(pixels: npt.NDArray[Any], what: object) -> Geometry:
    """Return the geometry of a frame.

    Raises
    ------
    SourceError
        If it has no pixels, or is not (y, x) or (c, y, x), or is of a type that pixels cannot be.
    """
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise SourceError(
            f"{shown(what)} has frames of shape {pixels.shape}; a frame is (y, x) or (c, y, x) "
            "with at least one pixel: choose another array or convert the recording"
        )
    dims = ("c", "y", "x")[-pixels.ndim :]
    return Geometry(dims, tuple(pixels.shape), native(pixels.dtype, what))
