"""The Zarr store behind a location, for reading."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from zarr.abc.store import Store
from zarr.storage import LocalStore

from forebay.acquisition.format.layout import check_run_name
from forebay.acquisition.run.finding import run_folder
from forebay.tiering.caching.in_force import cache_in_force
from forebay.tiering.connect import RETRIES, check_no_credentials, connect
from forebay.tiering.errors import UnknownPlaceError
from forebay.tiering.reading.signpost import SIGNPOST
from forebay.tiering.reading.tiered_store import TieredStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Bucket
    from zarr.storage import ObjectStore

SCHEMES = ("s3", "gs", "az", "file")
"""Kinds of URL that objects are read from."""

_BUCKETS = ("s3", "gs", "az")


def open_store(location: str | os.PathLike[str]) -> Store:
    """Open the folder or the prefix of an object store at a location, for reading.

    Parameters
    ----------
    location
        A path, or a URL: ``s3://bucket/prefix``, ``gs://bucket/prefix``,
        ``az://container/prefix`` or ``file:///folder``.  Credentials, region and endpoint of an
        object store come from its usual environment variables (``AWS_...``, ``GOOGLE_...``,
        ``AZURE_...``).

    Returns
    -------
    Store
        A Zarr store whose root is the location.  Where objects of the run were moved to other
        tiers, it reads them from there.

    Raises
    ------
    RunNotFoundError
        If there is no such folder.
    UnknownPlaceError
        If objects cannot be read from such a URL, or it has credentials in it.
    PlaceUnavailableError
        If an object store cannot be used as the environment says.  What it refuses later, it
        refuses with the same error.

    Examples
    --------
    >>> open_store("s3://instrument-7/runs/water")
    <TieredStore 's3://instrument-7/runs/water'>
    >>> open_store("ftp://instrument-7/runs/water")
    Traceback (most recent call last):
    forebay.tiering.errors.UnknownPlaceError: ftp://instrument-7/runs/water is not ...
    """
    if not isinstance(location, str) or "://" not in location:
        return _tiered(LocalStore(run_folder(location), read_only=True))
    check_no_credentials(location)
    parts = urlsplit(location)
    whole = parts.netloc or parts.scheme == "file"
    if parts.scheme not in SCHEMES or not whole or parts.query or parts.fragment:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UnknownPlaceError(
            f"{location} is not a place that can be read: give a path, or a URL that begins with "
            f"{known} and goes on with a bucket and a prefix (file:// with a folder)"
        )
    if parts.scheme == "file":
        folder = run_folder(Path(unquote(parts.path)))
        if (folder / SIGNPOST).exists():
            return _tiered(LocalStore(folder, read_only=True))
    # obstore takes a tenth of a second to import, and most runs lie in a folder.
    from obstore.store import from_url

    from forebay.tiering.url_store import UrlStore, translated

    options: dict[str, Any] = {} if parts.scheme == "file" else {"retry_config": RETRIES}
    with translated(location):
        home = UrlStore(from_url(location, **options), url=location)
    return home if parts.scheme == "file" else _tiered(home)


def open_bucket(url: str) -> "ObjectStore[Bucket]":
    """Open a prefix of an object store for writing a run.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``, with
        credentials as for `open_store`.

    Raises
    ------
    UnknownPlaceError, RunNameError
        If a run cannot be written to such a URL, or it has credentials in it.
    PlaceUnavailableError
        If the object store cannot be used as the environment says.

    Examples
    --------
    >>> open_bucket("s3://instrument-7/runs/water").read_only
    False
    """
    check_no_credentials(url)
    parts = urlsplit(url)
    if parts.scheme not in _BUCKETS or not parts.netloc or not parts.path.strip("/"):
        known = ", ".join(f"{scheme}://" for scheme in _BUCKETS)
        raise UnknownPlaceError(
            f"{url} is not a place that a run can be written to: give a name, or a URL that begins "
            f"with {known} and goes on with a bucket and a prefix"
        )
    check_run_name(parts.path.strip("/"))
    from forebay.tiering.url_store import UrlStore

    return UrlStore(connect(url), url=url, read_only=False)


def _tiered(home: Store) -> TieredStore:
    return TieredStore(home, cache=cache_in_force(), read_only=True)
