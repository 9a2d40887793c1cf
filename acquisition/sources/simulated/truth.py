"""The truth about simulated frames as a table, in memory or in a Parquet file."""

import os
from collections.abc import Iterable, Iterator
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forebay.acquisition.errors import StorageError
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.simulated.scene import Emitters, Scene

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {
    "frame_id": "int64",
    "particle": "int64",
    "y": "float64",
    "x": "float64",
    "photons": "float64",
}
_ROWS_AT_ONCE = 65_536


def truth_table(scene: Scene, frame_ids: Iterable[int]) -> "pd.DataFrame":
    """Return a row for each emitter in the field of view in each of the frames.

    Parameters
    ----------
    scene
        What the frames show.
    frame_ids
        Their counters, ascending.

    Returns
    -------
    pandas.DataFrame
        In the order of the frames: ``frame_id``, the camera's counter; ``particle``, the emitter,
        the same in all frames; ``y`` and ``x``, its centre in pixels, 0 in the middle of the first
        pixel; ``photons``, the mean number that it sends to the camera, of which those that fall
        beyond the edge are not in the frame.
    """
    import pandas as pd

    ids = list(frame_ids)
    seen = [scene.visible_at(frame_id) for frame_id in ids]
    columns = {
        "frame_id": np.repeat(np.asarray(ids, np.int64), [len(one.particle) for one in seen]),
        **{
            name: np.concatenate([getattr(one, name) for one in seen] or [np.empty(0)])
            for name in Emitters._fields
        },
    }
    return pd.DataFrame(columns).astype(_DTYPES)


def write_truth_table(scene: Scene, frame_ids: Iterable[int], path: Path) -> None:
    """Write what `truth_table` returns as Parquet: aside first, then under its name in one step.

    A part of the table is in memory at a time.  A file of that name is replaced.

    Raises
    ------
    StorageError
        If it cannot be written.  What was at `path` is still there.
    """
    aside = path.with_name(f".{path.name}.partial")
    try:
        try:
            _write(aside, _tables(scene, frame_ids))
            aside.replace(path)
            _flush(path.parent)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise StorageError(
            f"cannot write the truth to {shown(path)}: {shown(cause)}; check the folder, its "
            "permissions and the space left there"
        ) from error


def _tables(scene: Scene, frame_ids: Iterable[int]) -> Iterator["pd.DataFrame"]:
    """Return the table in parts; one empty part if there are no frames."""
    size = max(1, _ROWS_AT_ONCE // max(1, scene.emitters))
    any_part = False
    for part in batched(frame_ids, size):
        any_part = True
        yield truth_table(scene, part)
    if not any_part:
        yield truth_table(scene, ())


def _write(path: Path, tables: Iterator["pd.DataFrame"]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = pa.Table.from_pandas(next(tables), preserve_index=False)
    with path.open("wb") as file:
        with pq.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(pa.Table.from_pandas(table, first.schema, preserve_index=False))
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
