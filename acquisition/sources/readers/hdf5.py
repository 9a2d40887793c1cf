"""Frames in an HDF5 dataset."""

from pathlib import Path
from typing import Any

import h5py

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import reading, shown
from forebay.acquisition.sources.readers.arrays import ArrayReader

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")


class Hdf5Reader(ArrayReader):
    """Frames along the first axis of an HDF5 dataset.

    Parameters
    ----------
    path
        The file.
    dataset
        Path of the dataset in it; None for the only one that has three axes or more.

    Raises
    ------
    SourceError
        If the file or the dataset cannot be read, or which dataset is meant is not clear.
    """

    def __init__(self, path: Path, dataset: str | None) -> None:
        with reading(path, "check that it is a whole HDF5 file, or copy it again"):
            self._file = h5py.File(path, "r")
        try:
            with reading(path):
                chosen = self._choose(path, dataset)
                depth = chosen.chunks[0] if chosen.chunks else 1
                _check_parts(path, chosen)
            super().__init__(chosen, f"{shown(path)}::{shown(chosen.name)}", depth)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()

    def _choose(self, path: Path, dataset: str | None) -> Any:
        if dataset is not None:
            node = self._file.get(dataset)
            if isinstance(node, h5py.Dataset):
                return node
            what = "is a group" if isinstance(node, h5py.Group) else "is not there"
            raise SourceError(
                f"{shown(path)}::{shown(dataset)} {what}; choose one of {self._listed()}"
            )
        found = [node for node in self._datasets() if len(node.shape or ()) >= 3]
        if len(found) != 1:
            count = len(found) or "no"
            raise SourceError(
                f"{shown(path)} has {count} datasets of three or more axes; choose one with "
                f"{shown(path)}::/path/to/dataset; it holds {self._listed()}"
            )
        return found[0]

    def _datasets(self) -> list[Any]:
        found: list[Any] = []

        def visit(_name: str, node: object) -> None:
            if isinstance(node, h5py.Dataset):
                found.append(node)

        self._file.visititems(visit)
        return found

    def _listed(self) -> str:
        names = [f"{shown(node.name)} {shown(node.shape)}" for node in self._datasets()]
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return (", ".join(names[:20]) or "no dataset") + more


def _check_parts(path: Path, dataset: Any) -> None:
    """Raise a `SourceError` if a virtual dataset lacks a file; HDF5 would give zeros for it."""
    if not dataset.is_virtual:
        return
    for part in dataset.virtual_sources():
        name = part.file_name
        if name != "." and "%" not in name and not (path.parent / name).exists():
            raise SourceError(
                f"{shown(path)}::{shown(dataset.name)} takes frames from {shown(name)}, which is "
                "not there; put it beside the file"
            )
