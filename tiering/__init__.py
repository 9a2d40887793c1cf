"""Where the objects of a run lie, and reading them from there."""

from forebay.tiering.errors import PlaceUnavailableError, TieringError, UnknownPlaceError
from forebay.tiering.store import open_bucket, open_store

__all__ = [
    "PlaceUnavailableError",
    "TieringError",
    "UnknownPlaceError",
    "open_bucket",
    "open_store",
]
