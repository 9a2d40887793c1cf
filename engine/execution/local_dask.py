"""Computing the graph of a unit within the process that is at the unit."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dask
from dask import local, threaded

_SMALL_BYTES = 4 * 2**20
"""Frames of so many bytes are computed sooner than threads are handed the tasks."""

_small = ContextVar("small", default=False)
_computing = 0
_lock = threading.Lock()
_configured: Any = None


@contextmanager
def computed_here(size: int) -> Iterator[None]:
    """Make Dask compute within this process while any unit is at it.

    A worker's own tasks would otherwise be sent to the cluster that waits for them.  Dask keeps
    the setting for the whole process, so that it is taken back only when the last unit is done.

    Parameters
    ----------
    size
        Bytes of the frames: what is done with few is done in the calling thread, with more on
        Dask's threads.
    """
    global _computing, _configured
    with _lock:
        if _computing == 0:
            _configured = dask.config.set(scheduler=_compute)
            _configured.__enter__()
        _computing += 1
    token = _small.set(size <= _SMALL_BYTES)
    try:
        yield
    finally:
        _small.reset(token)
        with _lock:
            _computing -= 1
            if _computing == 0:
                _configured.__exit__(None, None, None)


def _compute(graph: Any, keys: Any, **options: Any) -> Any:
    """Compute tasks, as Dask's schedulers do."""
    get = local.get_sync if _small.get() else threaded.get
    return get(graph, keys, **options)
