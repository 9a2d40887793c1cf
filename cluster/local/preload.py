"""Loaded by Dask into every process of a local cluster."""

import logging
from typing import Any


def dask_setup(worker: Any) -> None:  # noqa: ARG001  # Dask's signature
    """Keep quiet about tasks that were under way when the cluster was closed."""
    logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
