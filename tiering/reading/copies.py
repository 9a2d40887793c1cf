"""Where the copies of a run lie, without reading any of them."""

import logging
from functools import lru_cache
from pathlib import Path

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import FRAMES
from forebay.tiering.reading.signpost import SIGNPOST, Signpost

_SHARD = f"{FRAMES}/c."
_REMEMBERED = 4096
"""Runs whose signposts are not read again before they change."""

_log = logging.getLogger("forebay.tiering")


def copies_of(location: str) -> tuple[str, ...]:
    """Return the paths and URLs where a run is read at once, its own place among them.

    Its own place is left out once its blocks were moved from there, and an archive always, for it
    has to be asked for them first.  Of a run that was recorded into a bucket that place is all that
    is said: nobody is asked over the network.

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
    path = Path(location, SIGNPOST)
    try:
        there = path.stat()
        urls, shard = _named(path, there.st_mtime_ns, there.st_size)
    except FileNotFoundError:
        return (location,)
    except (OSError, RunDamagedError) as error:
        # Whoever reads the run is told so by an error.
        _log.warning("where the copies of %s lie is not known: %s", location, error)
        return (location,)
    own = (location,) if shard is None or Path(location, shard).exists() else ()
    return own + urls


@lru_cache(_REMEMBERED)
def _named(path: Path, changed_at: int, size: int) -> tuple[tuple[str, ...], str | None]:  # noqa: ARG001
    """Return the copies that a signpost names, and a shard that they have."""
    signpost = Signpost.from_json(path.read_bytes(), where=str(path))
    urls = tuple(each.url for each in signpost.places if each.recall is None)
    return urls, next((key for key in signpost.objects if key.startswith(_SHARD)), None)
