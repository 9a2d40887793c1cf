"""A worker that is to go finishes what it is at, takes nothing more, and leaves.

Dask's own way of retiring a worker moves its memory and ends it, in the middle of what it runs.
"""

import asyncio
import logging
from typing import Any

_LOOK_SECONDS = 0.1

_log = logging.getLogger(__name__)


async def drain(worker: Any, *, within: float, reason: str) -> bool:
    """Let a worker finish what runs on it, hand the rest back, and leave the cluster.

    Parameters
    ----------
    worker
        A `distributed.Worker`, within its own event loop.
    within
        Seconds after which it goes, even if it is still at something.
    reason
        Why it goes.

    Returns
    -------
    bool
        Whether it had finished what it was at.
    """
    _log.warning("the worker %s leaves: %s", worker.address, reason)
    deadline = asyncio.get_running_loop().time() + within
    # From here on it begins nothing: the scheduler gives what waits for it to others when it goes.
    await worker.scheduler.retire_workers(
        workers=[worker.address], close_workers=False, remove=False
    )
    while worker.state.executing and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
    finished = not worker.state.executing
    # Now it is expected to go, so that no task is charged with the loss of its worker.
    try:
        retired = await worker.scheduler.retire_workers(
            workers=[worker.address], close_workers=True, remove=True
        )
    except OSError:
        # It was closed before it could be told so.
        return finished
    if worker.address not in retired:
        # It alone holds a result that somebody keeps; its machine goes all the same.
        await worker.close(nanny=True, reason=reason)
    return finished


async def drain_here(dask_worker: Any, *, within: float, reason: str) -> None:
    """Drain the worker that this is sent to (Dask fills in `dask_worker`)."""
    await drain(dask_worker, within=within, reason=reason)
