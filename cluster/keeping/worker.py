"""Loaded by Dask into every worker of a cluster that is kept: it tells of its health."""

from typing import Any

from forebay.cluster.health.machine import METRIC, Health
from forebay.cluster.keeping import time_left


def dask_setup(worker: Any) -> None:
    """Let a worker send its health along, and learn when its job ends."""
    worker.metrics[METRIC] = Health()
    time_left.listen(worker)
