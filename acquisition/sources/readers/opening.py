"""The right reader for a path."""

import os
from pathlib import Path

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import check_path, shown
from forebay.acquisition.sources.readers.arrays import open_npy
from forebay.acquisition.sources.readers.folder import PNG_SUFFIXES, FolderReader
from forebay.acquisition.sources.readers.hdf5 import HDF5_SUFFIXES, Hdf5Reader
from forebay.acquisition.sources.readers.reader import Reader
from forebay.acquisition.sources.readers.tiff import TIFF_SUFFIXES, TiffReader
from forebay.acquisition.sources.readers.zarrs import ZarrReader, is_zarr


def open_reader(text: str) -> Reader:
    """Open the recording at a path, with ``::`` and the name of an array in it where there is one.

    Raises
    ------
    SourceError
        If nothing readable is there.
    """
    if not text.strip():
        raise SourceError("no path is given; give that of a recording, or . for this folder")
    path, dataset = split(text)
    folder = check_path(path)
    suffix = path.suffix.lower()
    if folder and is_zarr(path):
        return ZarrReader(path, dataset)
    if not folder and suffix in HDF5_SUFFIXES:
        return Hdf5Reader(path, dataset)
    if dataset is not None:
        raise SourceError(
            f"{shown(path)} holds no arrays to choose from, so leave out '::{shown(dataset)}'; "
            "only Zarr groups and HDF5 files do"
        )
    if folder or suffix in PNG_SUFFIXES:
        return FolderReader(path)
    if suffix in TIFF_SUFFIXES:
        return TiffReader(path)
    if suffix == ".npy":
        return open_npy(path)
    known = ", ".join([*TIFF_SUFFIXES, *PNG_SUFFIXES, *HDF5_SUFFIXES, ".npy"])
    found = f"the suffix {shown(suffix)}, which is not known" if suffix else "no suffix"
    raise SourceError(
        f"{shown(path)} has {found}; give a folder of PNG or TIFF files, a Zarr folder, or a file "
        f"of {known}"
    )


def split(text: str) -> tuple[Path, str | None]:
    """Take apart a path and the name of an array in it.

    Examples
    --------
    >>> split("runs/a.h5::/entry/data")
    (PosixPath('runs/a.h5'), '/entry/data')
    """
    before, separator, name = text.rpartition("::")
    if not separator or os.path.lexists(text):
        return Path(text), None
    if not before or not name:
        raise SourceError(f"{shown(text)!r} lacks a part at '::'; write path::array or the path")
    return Path(before), name
