"""Where the copies of a run lie, without reading any of them."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import FRAMES
from forebay.tiering.reading.block_volumes import BLOCK_VOLUMES, blocks_of_signpost
from forebay.tiering.reading.signpost import SIGNPOST, Signpost

_SHARD = f"{FRAMES}/c."
_REMEMBERED = 65_536
"""Signposts that are not read again before they change."""

_log = logging.getLogger("forebay.tiering")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a signpost says of the blocks that it is about."""

    shard: str | None
    """One of their shards."""
    blocks: int
    """Their number."""
    urls: dict[str, str]
    """The copies that are read at once, by their tiers."""

    def lies_in(self, run: Path) -> bool:
        """Tell whether the run's own folder has the blocks; of moved ones it has empty files."""
        if self.shard is None:
            return True
        try:
            return (run / self.shard).stat().st_size > 0
        except OSError:
            return False


def copies_of(location: str) -> tuple[str, ...]:
    """Return the paths and URLs where a run is read at once, its own place among them.

    Its own place is left out once its blocks were moved from there, and an archive always, for it
    has to be asked for them first.  Of a run that was moved while it was open, blocks lie in
    several places: those count that have half of them at the least, or all where none has.
    Of a run that was recorded into a bucket that place is all that is said: nobody is asked over
    the network.

    Parameters
    ----------
    location
        The folder of the run, or its URL.

    Examples
    --------
    >>> copies_of("s3://instrument-7/runs/water")
    ('s3://instrument-7/runs/water',)
    """
    if "://" in location:
        return (location,)
    run = Path(location)
    try:
        pieces = [piece for path in _signposts(run) if (piece := _piece(path)) is not None]
        if not pieces:
            return (location,)
        apart = 0 if (run / SIGNPOST).exists() else _blocks_apart(run, pieces)
    except (OSError, RunDamagedError) as error:
        # Whoever reads the run is told so by an error.
        _log.warning("where the copies of %s lie is not known: %s", location, error)
        return (location,)
    blocks: Counter[str] = Counter({location: apart})
    urls: dict[str, str] = {}
    for each in pieces:
        if each.lies_in(run):
            blocks[location] += each.blocks
        for tier, url in each.urls.items():
            blocks[urls.setdefault(tier, url)] += each.blocks
    half = (apart + sum(each.blocks for each in pieces)) / 2
    if not half:
        return (location,)
    found = [each for each, number in blocks.items() if number]
    return tuple([each for each in found if blocks[each] >= half] or found)


def _signposts(run: Path) -> Iterator[Path]:
    yield run / SIGNPOST
    volumes = run / BLOCK_VOLUMES
    if volumes.is_dir():
        yield from sorted(x for x in volumes.iterdir() if blocks_of_signpost(x.name) is not None)


def _blocks_apart(run: Path, pieces: list[_Piece]) -> int:
    """Return how many blocks there are that no signpost is about."""
    shards = sum(1 for each in (run / FRAMES).glob("c.*"))
    return max(0, shards - sum(each.blocks for each in pieces))


def _piece(path: Path) -> _Piece | None:
    try:
        there = path.stat()
        return _read(path, there.st_ino, there.st_mtime_ns, there.st_size)
    except FileNotFoundError:
        return None


@lru_cache(_REMEMBERED)
def _read(path: Path, *_: int) -> _Piece:
    post = Signpost.from_json(path.read_bytes(), where=str(path))
    shards = [key for key in post.objects if key.startswith(_SHARD)]
    urls = {each.tier: each.url for each in post.places if each.recall is None}
    return _Piece(next(iter(shards), None), len(shards), urls)
