"""A client of a scheduler, and leaving it in order."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

CLOSE_TIMEOUT = 10.0
"""Seconds that a client, and then a cluster, may take to close."""

_log = logging.getLogger(__name__)


@contextmanager
def client_of(target: Any, **options: Any) -> Iterator["Client"]:
    """Connect to a scheduler for the length of a block; the client is not Dask's default."""
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        # Versions that matter are checked here, the others do not.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        client: Any = Client(  # type: ignore[no-untyped-call]
            target, set_as_default=False, **options
        )
    try:
        yield client
    finally:
        close_in_time(client)


def known_workers(client: Any) -> dict[str, dict[str, Any]]:
    """Return what the scheduler of a client knows of each of its workers, by their addresses.

    `Client.scheduler_info` may return none where there are: what the client asks now and then, for
    itself, takes the place of what it was asked for.
    """
    identity = client.sync(client.scheduler.identity, n_workers=-1)
    return dict(identity["workers"])


def close_in_time(closable: Any) -> None:
    """Close a client or a cluster; say so if that takes too long."""
    try:
        closable.close(timeout=CLOSE_TIMEOUT)
    except TimeoutError:
        _log.warning("%r did not close within %g s", closable, CLOSE_TIMEOUT)


def line_of(error: BaseException) -> str:
    """Return what an exception says, in one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
