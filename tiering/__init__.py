"""Where the objects of a run lie, and reading them from there."""

from forebay.tiering.caching.in_force import read_through
from forebay.tiering.caching.read_cache import ReadCache
from forebay.tiering.errors import (
    ArchivedError,
    PlaceUnavailableError,
    TieringError,
    UnknownPlaceError,
)
from forebay.tiering.reading.copies import copies_of
from forebay.tiering.store import open_bucket, open_store

__all__ = [
    "ArchivedError",
    "PlaceUnavailableError",
    "ReadCache",
    "TieringError",
    "UnknownPlaceError",
    "copies_of",
    "open_bucket",
    "open_store",
    "read_through",
]
