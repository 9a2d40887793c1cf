"""Loaded by Dask into every worker of a cluster that is kept: it tells of its health.

What a metric returns goes to the scheduler with each heartbeat.
"""

import importlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

_LOOK_SECONDS = 5.0
_log = logging.getLogger("forebay.cluster")


def dask_setup(worker: Any) -> None:
    """Let a worker send its health along."""
    worker.metrics["forebay"] = Health()


class Health:
    """What a worker says of its machine; looked up every few seconds, since heartbeats are many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = -_LOOK_SECONDS
        self._found: Mapping[str, Any] = {}

    def __call__(self, worker: Any) -> Mapping[str, Any]:
        """Return it."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at, self._found = now, look(worker.local_directory)
        return self._found


def look(folder: str) -> dict[str, Any]:
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
        "gpu_errors": gpu_errors(),
    }


def gpu_errors() -> list[str]:
    """Return what is wrong with the GPUs that this process may use; nothing without one."""
    if find_spec("pynvml") is None:
        return []
    pynvml: Any = importlib.import_module("pynvml")
    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(number)
            for number in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError:
        # There is no GPU, or no driver: nothing here needs one then.
        return []
    found = []
    for number, handle in enumerate(handles):
        try:
            wrong = pynvml.nvmlDeviceGetTotalEccErrors(
                handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
            )
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
                continue
            # Such as a GPU that has fallen off the bus (XID 79).
            found.append(f"GPU {number}: {error}")
        else:
            if wrong:
                found.append(f"GPU {number}: {wrong} memory errors that could not be corrected")
    return found
