"""Flushing files and folders, and reading back what lies in Zarr arrays."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt


def flush(path: Path) -> None:
    """Make a file, or the entries of a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_all(folder: Path) -> None:
    """Make every file and folder below a folder durable, and the folder."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(Path(path) / name)
        flush(Path(path))


def read_zarr(path: Path, position: int) -> npt.NDArray[np.generic]:
    """Return one frame of a Zarr array."""
    import zarr

    return np.asarray(zarr.open_array(path, mode="r")[position])
