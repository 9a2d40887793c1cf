"""Opening a run wherever it lies."""

import os
from collections.abc import Callable

from forebay.acquisition import Run
from forebay.acquisition import open_run as _open_run
from forebay.tiering import open_store


def open_run(
    location: str | os.PathLike[str], *, on_read: Callable[[int, int], object] | None = None
) -> Run:
    """Open a run for reading, also while it is being written.

    Parameters
    ----------
    location
        The run's folder, or the URL of an object store's prefix (``s3://bucket/runs/water``).
    on_read
        Called with how many bytes of its log were read and how many there are, to show progress: a
        run of weeks has millions of blocks, and each takes some 20 µs. Not for one in a bucket.

    Returns
    -------
    Run
        The run as it is now.  Its `frames` are lazy, (t, y, x) or (t, c, y, x), of the camera's
        dtype; nothing of them is read yet.

    Raises
    ------
    RunNotFoundError
        If there is no run.
    RunDamagedError
        If its metadata or its log has changed.

    Examples
    --------
    >>> import tempfile, forebay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with forebay.open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
    ...         _ = forebay.acquire(source, f"{folder}/water", frames_per_block=2)
    ...     run = forebay.open_run(f"{folder}/water")
    ...     run.frames.dims, run.frames.shape, str(run.frames.dtype), run.frames.chunksizes["t"]
    (('t', 'y', 'x'), (5, 48, 64), 'uint16', (2, 2, 1))
    """
    return _open_run(open_store(location), on_read=on_read)
