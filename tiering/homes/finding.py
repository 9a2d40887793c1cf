"""Finding the runs that were recorded into a tier, wherever below it.

What lies in a bundle is the copy of one, which stays as it is: nothing is looked for in there.
"""

import os
from collections.abc import Container, Iterator
from pathlib import Path

import obstore

from forebay.acquisition.format.layout import CONTROL
from forebay.tiering.errors import PlaceUnavailableError
from forebay.tiering.handoff.bagit import DECLARATION
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.storage.tiers import Tier
from forebay.tiering.url_store import translated

_DEPTH = 8


def homes_in(tier: Tier, *, known: Container[str] = frozenset()) -> Iterator[Path | str]:
    """Yield the folders of a tier, or the URLs, that runs were recorded in.

    Parameters
    ----------
    tier
        The tier.
    known
        Paths and URLs of which it is known that runs were: a bucket is not asked about them.

    Raises
    ------
    PlaceUnavailableError
        If a folder cannot be read, or a bucket does not answer.
    """
    if tier.folder is None:
        yield from _prefixes_below(tier.shelf(""), tier, "", _DEPTH, known)
    elif tier.folder.is_dir():
        yield from _runs_below(tier.folder, _DEPTH)


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                each.name
                for each in entries
                if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")
            )
    except FileNotFoundError:
        # It went since its name was read, as a staged part does when it is published.
        return
    except OSError as error:
        raise PlaceUnavailableError(f"{folder} cannot be read: {error.strerror}") from error
    for name in names:
        if (folder / name / CONTROL).is_dir():
            yield folder / name
        elif depth > 1 and not (folder / name / DECLARATION).is_file():
            yield from _runs_below(folder / name, depth - 1)


def _prefixes_below(
    bucket: Shelf, tier: Tier, path: str, depth: int, known: Container[str]
) -> Iterator[str]:
    for name in _names_below(bucket, path):
        below = f"{path}/{name}" if path else name
        if tier.where(below) in known or CONTROL in (inside := _names_below(bucket, below)):
            yield tier.where(below)
        elif depth > 1 and inside:
            yield from _prefixes_below(bucket, tier, below, depth - 1, known)


def _names_below(bucket: Shelf, path: str) -> list[str]:
    """Return what is below a prefix and has something below it, as far as it can be a run's name."""
    with translated(bucket.where):
        found = obstore.list_with_delimiter(bucket.bucket, prefix=path or None)
    if path and any(each["path"] == f"{path}/{DECLARATION}" for each in found["objects"]):
        return []
    names = (each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"])
    return sorted(name for name in names if not name.startswith("."))
