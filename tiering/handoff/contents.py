"""What a closed run consists of, wherever its objects lie now."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blake3 import blake3
from zarr.core.sync import sync

from forebay.acquisition import Run
from forebay.acquisition import open_run as open_in_store
from forebay.acquisition.errors import RunDamagedError, RunNameError
from forebay.acquisition.format import layout
from forebay.acquisition.plain_path import plain_path
from forebay.tiering.connect import connect
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.keys import check_key
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import STAYING, of_this_place
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.store import open_store


@dataclass(frozen=True, slots=True)
class Contents:
    """The objects of a closed run."""

    run: Run
    """The run."""
    name: str
    """What it is called where it lies."""
    objects: Mapping[str, KnownObject]
    """What each object is, by its key: blocks first, then logs, then documents, the group last."""

    @property
    def run_id(self) -> str:
        """The run's identity."""
        return self.run.run_id

    @property
    def size(self) -> int:
        """Length of all of them."""
        return sum(each.bytes for each in self.objects.values())

    @property
    def own_shelf(self) -> Shelf:
        """The place that the run is found in, whichever tiers its objects lie in."""
        path = self.run.path
        if path is not None:
            return Shelf(connect(path.parent), path.name, where=str(path), folder=path)
        above, _, name = self.run.location.rstrip("/").rpartition("/")
        return Shelf(connect(above), name, where=self.run.location)

    def read(self, key: str) -> bytes:
        """Return an object, from whichever tier has it, compared with what it is known as.

        Raises
        ------
        RunDamagedError
            If it is missing or has changed.
        """
        content = self.run.objects.read(key)
        known = self.objects[key]
        if content is None:
            raise RunDamagedError(
                f"{self.run.objects.where(key)} is missing: 'forebay runs verify' tells which "
                "frames that concerns; restore it from a copy"
            )
        if KnownObject(len(content), str(blake3(content).hexdigest())) != known:
            raise RunDamagedError(
                f"{self.run.objects.where(key)} has changed since it was committed: restore it "
                "from a copy"
            )
        return content


def contents_of(location: str | os.PathLike[str], *, name: str | None = None) -> Contents:
    """Look through a closed run, in a folder, in tiers or in a bucket.

    Of the blocks the log says what they are; documents and logs are read.

    Parameters
    ----------
    location
        The run's folder, or its URL.
    name
        What it is to be called; as its folder is if not given.

    Raises
    ------
    RunNotTieredError
        If it is open, or its folder holds what belongs to no run.
    RunNotFoundError, RunDamagedError
        If it is no run, or something of it is missing.
    RunNameError
        If its folder has a name that no run has, and no other one is given.
    """
    if not (isinstance(location, str) and "://" in location):
        location = plain_path(location)
    run = open_in_store(open_store(location))
    if not run.closed:
        raise RunNotTieredError(
            f"{run.location} is not closed: a run is handed over when nothing is added to it any "
            "more; 'forebay runs close' ends one whose writer is gone"
        )
    called = layout.check_run_name(_last_part(location) if name is None else name)
    if "/" in called:
        raise RunNameError(
            f"{called!r} names a folder and a run in it: give the name of the run alone"
        )
    blocks = {
        stored.key: KnownObject(stored.bytes, stored.blake3)
        for block in run.blocks
        for stored in block.objects
    }
    documents = [f"{array}/{layout.METADATA}" for array in run.layout.array_documents(0)]
    documents = [*sorted(documents), layout.METADATA]
    there = set(_keys(run))
    others = []
    for key in sorted(there - {*blocks, *documents}):
        if key.startswith(STAYING):
            others.append(key)
        elif run.path is not None or key.rpartition("/")[0] not in {*layout.COORDINATES, "frames"}:
            # In a bucket, blocks that were stored and not committed stay for ever.
            raise RunNotTieredError(
                f"{run.objects.where(key)} belongs to no run: put it elsewhere, and hand the run "
                "over then"
            )
    missing = [key for key in (*blocks, *documents) if key not in there]
    if missing:
        more = f" and {len(missing) - 1} more objects are" if missing[1:] else " is"
        raise RunDamagedError(
            f"{run.objects.where(missing[0])}{more} missing: 'forebay runs verify' tells which "
            "frames that concerns; restore them from a copy"
        )
    read = {key: _known(run, key) for key in (*others, *documents)}
    return Contents(run, called, {**blocks, **read})


def _keys(run: Run) -> Iterator[str]:
    """Yield the keys of everything that goes with a run."""
    if run.path is not None:
        for path in run.path.rglob("*"):
            if path.is_symlink():
                raise RunNotTieredError(f"{path} is a link, which no run has: remove it")

    async def collect() -> list[str]:
        return [key async for key in run.objects.store.list()]

    for key in sync(collect()):
        if not of_this_place(key):
            yield check_key(key)


def _known(run: Run, key: str) -> KnownObject:
    content = run.objects.read(key)
    if content is None:
        raise RunDamagedError(f"{run.objects.where(key)} is missing: restore it from a copy")
    return KnownObject(len(content), str(blake3(content).hexdigest()))


def _last_part(location: str | os.PathLike[str]) -> str:
    if isinstance(location, str) and "://" in location:
        return unquote(urlsplit(location).path).rstrip("/").rpartition("/")[2]
    return Path(location).name
