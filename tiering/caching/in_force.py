"""The cache that this process reads through, as it is configured."""

from forebay.tiering.caching.read_cache import ReadCache

_in_force: list[ReadCache] = []


def read_through(cache: ReadCache | None) -> None:
    """Have all runs that are opened from now on read through a cache, or through none.

    Parameters
    ----------
    cache
        The cache.

    Examples
    --------
    >>> from pathlib import Path
    >>> read_through(ReadCache(Path("/scratch/forebay"), 10**12))
    >>> cache_in_force()
    ReadCache(folder=PosixPath('/scratch/forebay'), capacity=1000000000000)
    >>> read_through(None)
    """
    _in_force[:] = [] if cache is None else [cache]


def cache_in_force() -> ReadCache | None:
    """Return the cache that runs are read through; None where there is none."""
    return _in_force[0] if _in_force else None
