"""Opening a run wherever it lies."""

import os

from forebay.acquisition import Run
from forebay.acquisition import open_run as _open_run
from forebay.tiering import open_store


def open_run(location: str | os.PathLike[str]) -> Run:
    """Open a run for reading, also while it is being written.

    Parameters
    ----------
    location
        The run's folder, or the URL of an object store's prefix (``s3://bucket/runs/water``).

    Raises
    ------
    RunNotFoundError
        If there is no run.
    RunDamagedError
        If its metadata or its log has changed.
    """
    return _open_run(open_store(location))
