"""The Zarr store behind a location, for reading."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from zarr.abc.store import Store
from zarr.storage import LocalStore

from forebay.acquisition.errors import RunNotFoundError
from forebay.tiering.errors import UnknownPlaceError

SCHEMES = ("s3", "gs", "az", "file")
"""Kinds of URL that objects are read from."""

_RETRIES: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
"""How long an object store may fail; without a limit, missing credentials take minutes to show."""


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
        A Zarr store whose root is the location.

    Raises
    ------
    RunNotFoundError
        If there is no such folder.
    UnknownPlaceError
        If objects cannot be read from such a URL.
    PlaceUnavailableError
        If an object store cannot be used as the environment says.  What it refuses later, it
        refuses with the same error.

    Examples
    --------
    >>> open_store("s3://instrument-7/runs/water")
    <UrlStore 's3://instrument-7/runs/water'>
    >>> open_store("ftp://instrument-7/runs/water")
    Traceback (most recent call last):
    forebay.tiering.errors.UnknownPlaceError: ftp://instrument-7/runs/water is not ...
    """
    if not isinstance(location, str) or "://" not in location:
        return LocalStore(_folder(Path(location)), read_only=True)
    parts = urlsplit(location)
    whole = parts.netloc or parts.scheme == "file"
    if parts.scheme not in SCHEMES or not whole or parts.query or parts.fragment:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UnknownPlaceError(
            f"{location} is not a place that can be read: give a path, or a URL that begins with "
            f"{known} and goes on with a bucket and a prefix (file:// with a folder)"
        )
    if parts.scheme == "file":
        _folder(Path(unquote(parts.path)))
    # obstore takes a tenth of a second to import, and most runs lie in a folder.
    from obstore.store import from_url

    from forebay.tiering.url_store import UrlStore, translated

    options: dict[str, Any] = {} if parts.scheme == "file" else {"retry_config": _RETRIES}
    with translated(location):
        return UrlStore(from_url(location, **options), url=location)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise RunNotFoundError(
            f"{path} is not a run: there is no such folder; check the name and the runs folder"
        )
    # A worker in another folder must find the same place.
    return path.absolute()
