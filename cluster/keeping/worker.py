"""Loaded by Dask into every worker of a cluster that is kept: it tells of its health.

What a metric returns goes to the scheduler with each heartbeat.
"""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from forebay.cluster.keeping import time_left
from forebay.cluster.keeping.gpu import GpuErrors

_LOOK_SECONDS = 5.0
_log = logging.getLogger("forebay.cluster")


def dask_setup(worker: Any) -> None:
    """Let a worker send its health along, and learn when its job ends."""
    worker.metrics["forebay"] = Health()
    time_left.listen(worker)


class Health:
    """What a worker says of its machine; looked up every few seconds, since heartbeats are many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gpus = GpuErrors()
        self._looked_at = -_LOOK_SECONDS
        self._found: Mapping[str, Any] = {}

    def __call__(self, worker: Any) -> Mapping[str, Any]:
        """Return it."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at, self._found = now, look(worker.local_directory, self._gpus)
        return self._found


def look(folder: str, gpus: GpuErrors) -> dict[str, Any]:
    """Return the health of this machine, as far as a worker in a folder needs it."""
    import psutil

    try:
        disk: int | None = shutil.disk_usage(folder).free
    except OSError:
        disk = 0
    memory = psutil.virtual_memory()
    return {
        "forebay": version("forebay"),
        "disk_free": disk,
        "memory_free": memory.available / memory.total,
        "gpu_errors": gpus.look(),
    }
