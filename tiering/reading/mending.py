"""Putting an object right where a reader has found it damaged."""

import asyncio
import logging
import uuid
from pathlib import Path

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from forebay.acquisition import durable
from forebay.acquisition.storage.said import said_by_store
from forebay.tiering.reading.packed_store import PackedStore

_log = logging.getLogger("forebay.tiering")


def mend(place: Store, key: str, content: bytes) -> None:
    """Put the right bytes of an object in the place of damaged ones.

    Whoever reads has what they asked for already; so where this cannot be done, as by somebody who
    may only read there, it is told in the log and left to ``forebay scrub``.

    Parameters
    ----------
    place
        Where the damaged object lies.
    key
        Its key.
    content
        Its right bytes, compared with its digest already.
    """
    from obstore.exceptions import BaseError

    told = {"place": str(place), "object": key}
    if isinstance(place, PackedStore):
        _log.warning("damaged pack is left to a scrub", extra=told)
        return
    try:
        if isinstance(place, LocalStore):
            path = Path(place.root) / key
            durable.replace(
                path.with_name(f"{path.name}.{uuid.uuid4().hex}.mending"), path, content
            )
        else:
            buffer = default_buffer_prototype().buffer.from_bytes(content)
            writable = place.with_read_only(read_only=False) if place.read_only else place
            asyncio.run(writable.set(key, buffer))
    except (OSError, BaseError, ValueError) as error:
        _log.warning(
            "damaged object cannot be put right", extra={**told, "error": said_by_store(error)}
        )
    else:
        _log.warning("damaged object put right", extra=told)
