"""Starting again workers of this machine whose nannies have given up.

Dask counts a worker as lost that its nanny has not brought back within 15 s, which on a busy machine
it may not, and one whose start has failed stays as it is.  Neither is started again by Dask itself.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

LOOK_SECONDS = 5.0
"""Time between two looks at who is there."""

_log = logging.getLogger("forebay.cluster")


@contextmanager
def refilled(cluster: Any, loop: "IOLoop") -> Iterator[None]:
    """Start again what is gone of a cluster's workers, for the length of a block.

    Parameters
    ----------
    cluster
        A `distributed.LocalCluster`.
    loop
        Its event loop, which runs.
    """
    from tornado.ioloop import PeriodicCallback

    looking = PeriodicCallback(partial(_look, cluster), 1000 * LOOK_SECONDS)
    loop.add_callback(looking.start)
    try:
        yield
    finally:
        loop.add_callback(looking.stop)


def _look(cluster: Any) -> None:
    from distributed.core import Status

    for name, nanny in list(cluster.workers.items()):
        if nanny.status in {Status.closed, Status.failed}:
            del cluster.workers[name]
    wanted = len(cluster.worker_spec)
    if missing := wanted - len(cluster.workers):
        _log.warning("%d of %d workers are gone, and are started again", missing, wanted)
        # It compares who is there with who should be, also where their number stays the same.
        cluster.scale(wanted)
