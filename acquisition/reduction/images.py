"""Images to correct frames with: read from files, checked, and known by their digests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import numpy.typing as npt

from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.sources.messages import reading, shown
from forebay.acquisition.sources.readers.opening import open_reader

type Image = npt.NDArray[Any]


def load_image(
    path: Path, geometry: Geometry, dtype: np.dtype[Any], given: Mapping[Path, Image]
) -> Image:
    """Return the image in a file, as the frames that it is for are laid out.

    Parameters
    ----------
    path
        A file that frames can be read from and that holds one, or a ``.npy`` file with one image.
    geometry
        Layout of the frames.
    dtype
        Type that frames are corrected in, which the image is given too.
    given
        Images that are not to be read but are here.

    Returns
    -------
    numpy.ndarray
        (plane, y, x); an image of (y, x) is there for each plane.

    Raises
    ------
    ReductionError
        If the image has another shape than the frames.
    SourceError
        If the file cannot be read.
    """
    image = given[path] if path in given else _read(path)
    if image.shape[:1] == (1,) and image.ndim == len(geometry.shape) + 1:
        image = image[0]
    if image.shape not in (geometry.shape, geometry.shape[-2:]):
        raise ReductionError(
            f"{shown(path)} is {_sizes(image.shape)}, but the frames that come to this step are "
            f"{_sizes(geometry.shape)}; give an image of that size, or move the step"
        )
    if image.dtype.kind not in "uif":
        raise ReductionError(f"{shown(path)} has pixels of {image.dtype}; give real numbers")
    planes = geometry.shape[0] if len(geometry.shape) == 3 else 1
    whole = np.broadcast_to(image, (planes, *geometry.shape[-2:]))
    return np.ascontiguousarray(whole, dtype=dtype)


def digest(image: Image) -> str:
    """Return what an image is known by: BLAKE3 over its type, its shape and its pixels.

    Examples
    --------
    >>> digest(np.zeros((1, 2, 3), "float32"))[:14]
    'blake3:a542a5b'
    """
    little = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    head = f"{little.dtype.name} {little.shape}\n".encode()
    hasher = blake3.blake3(head)
    hasher.update(little.reshape(-1).view(np.uint8))
    return f"blake3:{hasher.hexdigest()}"


def _read(path: Path) -> Image:
    if path.suffix.lower() == ".npy":
        # A source of frames wants an axis of frames, which one image saved by numpy has not.
        with reading(path, "save the image as a numeric array with numpy.save"):
            return np.asarray(np.load(path, allow_pickle=False))
    reader = open_reader(str(path))
    try:
        if len(reader) != 1:
            raise ReductionError(
                f"{shown(path)} holds {len(reader)} frames; give a file with one, such as their "
                "median by forebay.ops.background"
            )
        return reader.read(0)
    finally:
        reader.close()


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single number"
