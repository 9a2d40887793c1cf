"""Reading files of a result that lie in other tiers than the result's folder."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from forebay.acquisition.errors import RunDamagedError
from forebay.tiering.caching.in_force import cache_in_force
from forebay.tiering.caching.read_cache import ReadCache
from forebay.tiering.reading.signpost import VOLUMES, Signpost, of_volume
from forebay.tiering.reading.tiered_store import TieredStore

_LOOKS = 3
"""Times that signposts are looked for again where a file has just gone to another place."""
_KNOWN = 32
"""Signposts that are kept read: those of large results have many megabytes."""


def read_moved(result: Path, key: str) -> bytes | None:
    """Return a file of a result from whichever place has it whole; None where none is known.

    Parameters
    ----------
    result
        The folder of the result.
    key
        The file's path within it.

    Raises
    ------
    ArchivedError
        If it has to be recalled from an archive.
    PlaceUnavailableError
        If the place that has it does not answer.
    """
    for _ in range(_LOOKS):
        for volume in _volumes(result):
            found = _volume(result, volume)
            if found is None or key not in found[0].objects:
                continue
            try:
                content = _get(found[1], key)
            except RunDamagedError:
                # Another volume, or a newer signpost, may know more.
                continue
            if content is not None:
                return content
        # It may have come home since.
        path = result / key
        if path.is_file():
            return path.read_bytes()
    return None


def _volumes(result: Path) -> list[str]:
    folder = result / VOLUMES
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def _volume(result: Path, volume: str) -> tuple[Signpost, TieredStore] | None:
    """Return where a volume lies by now, and what reads it."""
    path = result / of_volume(volume)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
    return _opened(result, volume, stamp, cache_in_force())


@functools.lru_cache(maxsize=_KNOWN)
def _opened(
    result: Path, volume: str, _: tuple[int, ...], cache: ReadCache | None
) -> tuple[Signpost, TieredStore] | None:
    key = of_volume(volume)
    try:
        content = (result / key).read_bytes()
    except FileNotFoundError:
        return None
    home = LocalStore(result, read_only=True)
    store = TieredStore(home, cache=cache, read_only=True, signpost=key)
    return Signpost.from_json(content, where=str(result / key)), store


def _get(store: TieredStore, key: str) -> bytes | None:
    """Read from a store, whether or not the calling thread runs an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(asyncio.run, store.get(key, default_buffer_prototype())).result()
    return None if found is None else found.to_bytes()
