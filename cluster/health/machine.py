"""What a worker says of its machine; what a metric returns goes to the scheduler with each heartbeat."""

import shutil
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from forebay.cluster.health.gpu import GpuErrors

METRIC = "forebay"
"""What a worker's metric of its health is called."""
_LOOK_SECONDS = 5.0


class Health:
    """What a worker says of its machine; looked up every few seconds, since heartbeats are many.

    Parameters
    ----------
    clock
        Seconds of a clock that only goes forward.
    gpus
        Looks at the GPUs; at all of the machine if not given.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, gpus: GpuErrors | None = None
    ) -> None:
        self._clock = clock
        self._gpus = GpuErrors() if gpus is None else gpus
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
        "folder": folder,
        "disk_free": disk,
        "memory_free": memory.available / memory.total,
        "gpu_errors": gpus.look(),
    }


def tell_health(dask_worker: Any) -> None:
    """Let the worker that this is sent to tell of its health (Dask fills in `dask_worker`).

    Of several GPUs it tells of the one that it computes on: the others have workers of their own.
    """
    from forebay.cluster.health.gpu import own_gpu

    dask_worker.metrics.setdefault(METRIC, Health(gpus=GpuErrors(own=own_gpu())))
