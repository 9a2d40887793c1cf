"""Frames in a Zarr array, version 2 or 3, in a local folder."""

from pathlib import Path
from typing import Any

import zarr

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.messages import reading, shown
from forebay.acquisition.sources.readers.arrays import ArrayReader
from forebay.acquisition.sources.readers.zarr_metadata import (
    axis_names,
    first_image,
    image_metadata,
)

ZARR_SUFFIX = ".zarr"
_MARKERS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a Zarr array or group, or is called one."""
    return path.suffix.lower() == ZARR_SUFFIX or any((path / name).exists() for name in _MARKERS)


class ZarrReader(ArrayReader):
    """Frames along the first axis of a Zarr array.

    A chunk that was never written reads as the fill value, as Zarr has it; in a run of forebay's
    own it is an error.

    Parameters
    ----------
    path
        The folder of an array or a group.
    dataset
        Path of the array in a group; None for the first image of an OME-Zarr group, else for the
        only array that has three axes or more.

    Raises
    ------
    SourceError
        If the array cannot be read, or which one is meant is not clear.
    """

    def __init__(self, path: Path, dataset: str | None) -> None:
        where = shown(path)
        if not any((path / name).exists() for name in _MARKERS):
            raise SourceError(
                f"{where} holds none of {', '.join(_MARKERS)}; give the folder of a Zarr array or "
                "group"
            )
        with reading(path, "check that it is a whole Zarr array or group, or copy it again"):
            node = zarr.open(store=str(path), mode="r")
            metadata = ImageMetadata()
            if isinstance(node, zarr.Group):
                attributes = dict(node.attrs)
                image = first_image(attributes)
                name = (dataset or image.get("path") or _only_array(node, where)).strip("/")
                node = _array(node, name, where)
                where = f"{where}::{shown(name)}"
                if name == image.get("path"):
                    metadata = image_metadata(attributes, image)
                    _check_axes(axis_names(attributes), node.ndim, where)
                if "forebay" in attributes:
                    node = node.with_config({"read_missing_chunks": False})
            elif dataset is not None:
                raise SourceError(
                    f"{where} is an array and holds no {shown(dataset)}; leave out '::'"
                )
        super().__init__(node, where, node.chunks[0] if node.ndim else 1, metadata)


def _array(group: zarr.Group, name: str, where: str) -> zarr.Array[Any]:
    node = group.get(name)
    if isinstance(node, zarr.Array):
        return node
    what = "is not there" if node is None else "is a group"
    raise SourceError(f"{where}::{shown(name)} {what}; choose one of {_listed(group)}")


def _only_array(group: zarr.Group, where: str) -> str:
    found = [name for name, array in _arrays(group) if array.ndim >= 3]
    if len(found) != 1:
        raise SourceError(
            f"{where} has {len(found) or 'no'} arrays of three or more axes; choose one with "
            f"{where}::path/to/array; it holds {_listed(group)}"
        )
    return found[0]


def _arrays(group: zarr.Group) -> list[tuple[str, zarr.Array[Any]]]:
    members = group.members(max_depth=None)
    return sorted(
        (
            (name, node)
            for name, node in members
            if isinstance(node, zarr.Array)  # the others are groups
        ),
        key=lambda member: member[0],
    )


def _listed(group: zarr.Group) -> str:
    names = [f"{shown(name)} {array.shape}" for name, array in _arrays(group)]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) or "no array") + more


def _check_axes(names: list[str], count: int, where: str) -> None:
    """Raise a `SourceError` if an OME-Zarr image has axes that are not those of frames."""
    if len(names) != count or count not in (3, 4):
        return
    if names[-2:] != ["y", "x"] or names[0] == "c" or (count == 4 and names[1] != "c"):
        raise SourceError(
            f"{where} has the axes {shown(', '.join(names))}; frames are t, y, x or t, c, y, x: "
            "choose another array, or save this one with such axes"
        )
