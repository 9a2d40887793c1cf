"""Loaded by Dask into a worker for a GPU: it makes arrays there, by Dask's own setting.

dask-cuda gives its workers a configuration, and takes none besides.
"""

from typing import Any

import dask

from forebay.cluster.keeping.fit import CUPY


def dask_setup(worker: Any) -> None:  # noqa: ARG001  # Dask's signature
    """Let the process make arrays in CuPy."""
    dask.config.set({"array.backend": CUPY})
