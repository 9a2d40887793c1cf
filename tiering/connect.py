"""Connections to object stores, as the environment gives credentials for them."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Bucket

PUT_TIMEOUT = timedelta(minutes=5)
"""How long one request may take; a block is written by one."""
RETRIES: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
"""How long an object store may fail; without a limit, missing credentials take minutes to show."""
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


def check_no_credentials(url: str) -> None:
    """Refuse a URL with credentials in it, without repeating them.

    Raises
    ------
    UnknownPlaceError
        If there are any: what is recorded, logged and shown has the URL in it.
    """
    from forebay.tiering.errors import UnknownPlaceError

    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UnknownPlaceError(
            f"a URL of {parts.netloc.rpartition('@')[2]} with credentials in it is not used: they "
            "come from the environment"
        )


def connect(place: Path | str, settings: Mapping[str, Any] = NO_SETTINGS) -> "Bucket":
    """Return a folder, or a prefix of an object store, to read objects from and write them to.

    Parameters
    ----------
    place
        A folder, or ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.
    settings
        Settings of the connection that the environment does not have.

    Raises
    ------
    PlaceUnavailableError
        If there is no such folder, which is never made here: it may be one that is not mounted.
        Or if an object store cannot be used as the environment says.
    """
    # obstore takes a tenth of a second to import.
    from obstore.store import LocalStore, from_url

    from forebay.tiering.errors import PlaceUnavailableError
    from forebay.tiering.url_store import translated

    if isinstance(place, Path):
        if not place.is_dir():
            raise PlaceUnavailableError(
                f"{place} cannot be used: there is no such folder; make it, or mount what it is on"
            )
        return LocalStore(place)
    options: dict[str, Any] = {"timeout": PUT_TIMEOUT}
    if os.environ.get("AWS_ALLOW_HTTP", "").casefold() in {"true", "1"}:
        # Options that are given put those of the environment out of force.
        options["allow_http"] = True
    given: dict[str, Any] = {"retry_config": RETRIES, "client_options": options}
    with translated(place):
        return from_url(place, **given, **settings)
