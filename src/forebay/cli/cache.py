"""How the cache of what was read serves, as ``forebay tier status`` shows it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forebay.cli.output import size

if TYPE_CHECKING:
    from forebay.tiering.caching.read_cache import ReadCache


def cache_fields(cache: "ReadCache") -> dict[str, Any]:
    """Return how a cache serves, for machines; without figures where it cannot be used."""
    figures = cache.figures()
    return {"cache": str(cache.folder), **({} if figures is None else asdict(figures))}


def cache_line(cache: "ReadCache") -> str:
    """Return how a cache serves, as a sentence."""
    figures = cache.figures()
    if figures is None:
        return f"the cache {cache.folder} cannot be used: runs are read as if there were none"
    asked = figures.hits + figures.misses
    return (
        f"cache {cache.folder}: {size(figures.bytes)} of {size(figures.capacity)} in "
        f"{figures.entries} entries; {figures.hits} of {asked} reads were answered there "
        f"({size(figures.hit_bytes)}); {figures.evictions} entries had to make room"
    )
