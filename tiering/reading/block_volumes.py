"""Volumes of a run: blocks that follow each other, and were moved while the run was open."""

import re

from forebay.acquisition.format import layout

BLOCK_VOLUMES = f"{layout.CONTROL}/volumes"
"""Where a run keeps the signposts of its volumes, whose names say which blocks are in them."""

_ARRAYS = "|".join((*layout.COORDINATES, layout.FRAMES))
_BLOCK = re.compile(rf"(?:{_ARRAYS})/c\.(\d+)(?:\.0)*", flags=re.ASCII)
_RANGE = re.compile(r"(\d{8,})-(\d{8,})", flags=re.ASCII)


def volume_of(run_id: str, blocks: range) -> str:
    """Return the identity of a volume.

    Examples
    --------
    >>> volume_of("79cf", range(0, 16))
    '79cf.00000000-00000015'
    """
    return f"{run_id}.{_named(blocks)}"


def run_of_volume(volume: str) -> str:
    """Return the identity of the run that a volume is of.

    Examples
    --------
    >>> run_of_volume("79cf.00000000-00000015")
    '79cf'
    """
    return volume.rpartition(".")[0]


def blocks_of_volume(volume: str) -> range:
    """Return which blocks are in a volume, by its identity.

    Raises
    ------
    ValueError
        If it is the identity of none.

    Examples
    --------
    >>> blocks_of_volume("79cf.00000000-00000015")
    range(0, 16)
    """
    blocks = _range_of(volume.rpartition(".")[2])
    if blocks is None:
        raise ValueError(f"{volume!r} is no volume of blocks")
    return blocks


def volume_signpost(blocks: range) -> str:
    """Return the key of the signpost of a volume in the run's folder.

    Examples
    --------
    >>> volume_signpost(range(0, 16))
    '_forebay/volumes/00000000-00000015.json'
    """
    return f"{BLOCK_VOLUMES}/{_named(blocks)}.json"


def blocks_of_signpost(name: str) -> range | None:
    """Return which blocks a signpost is about, by the name of its file; None if it is none.

    Examples
    --------
    >>> blocks_of_signpost("00000000-00000015.json"), blocks_of_signpost("lock")
    (range(0, 16), None)
    """
    return _range_of(name.removesuffix(".json")) if name.endswith(".json") else None


def block_of(key: str) -> int | None:
    """Return the block that an object of a run belongs to; None if it belongs to none.

    Examples
    --------
    >>> block_of("frames/c.12.0.0"), block_of("flags/c.3"), block_of("zarr.json")
    (12, 3, None)
    """
    found = _BLOCK.fullmatch(key)
    return None if found is None else int(found[1])


def _named(blocks: range) -> str:
    return f"{blocks.start:08d}-{blocks.stop - 1:08d}"


def _range_of(name: str) -> range | None:
    found = _RANGE.fullmatch(name)
    return None if found is None else range(int(found[1]), int(found[2]) + 1)
