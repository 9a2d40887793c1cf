"""Tables from frames: what stands in the leading columns, and one partition for each chunk."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from forebay.ops._blocks import whole
from forebay.ops.errors import OperationError

if TYPE_CHECKING:
    import dask.dataframe

type Table = "pd.DataFrame | dask.dataframe.DataFrame"
"""A pandas table of eager frames, or a Dask one of Dask-backed frames."""

type Labels = Sequence[np.ndarray[Any, Any]]
"""For each leading axis, what its indices are called."""


def leading_labels(
    frames: xr.DataArray, dims: Sequence[Hashable], columns: Sequence[str]
) -> tuple[list[Hashable], Labels]:
    """Return the dimensions of `frames` besides `dims`, and what their indices are called.

    Raises
    ------
    OperationError
        If one of them is called like one of the other `columns` of the table.
    """
    leading = [dim for dim in frames.dims if dim not in dims]
    taken = [dim for dim in leading if dim in columns]
    if taken:
        raise OperationError(
            f"frames has a dimension {taken[0]!r}, which is a column of the table; rename it"
        )
    return leading, [frames[dim].to_numpy() for dim in leading]


def leading_columns(
    frame: np.ndarray[Any, Any],
    shape: Sequence[int],
    leading: Sequence[Hashable],
    labels: Labels,
) -> dict[Hashable, np.ndarray[Any, Any]]:
    """Return the columns that say where each row's frame lies; `frame` counts through `shape`."""
    places = np.unravel_index(frame, tuple(shape)) if leading else ()
    return {dim: values[at] for dim, values, at in zip(leading, labels, places, strict=True)}


def empty_columns(
    leading: Sequence[Hashable], labels: Labels, columns: Mapping[str, Any]
) -> pd.DataFrame:
    """Return a table without a row, with `columns` and their dtypes behind the leading ones."""
    table: dict[Hashable, np.ndarray[Any, Any]] = {
        dim: values[:0] for dim, values in zip(leading, labels, strict=True)
    }
    return pd.DataFrame(table | {name: np.empty(0, dtype) for name, dtype in columns.items()})


def table_of_frames(
    function: Callable[..., pd.DataFrame],
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    *,
    columns: Mapping[str, Any],
    kwargs: Mapping[str, Any],
) -> Table:
    """Return what `function` finds in each chunk of `frames`, whose `dims` it sees whole.

    Parameters
    ----------
    function
        Gets a block with `dims` last, the leading dimensions, their labels and `kwargs`.
    frames
        Eager frames give a pandas table, Dask-backed ones a Dask table, computed when asked for.
    dims
        The dimensions of one frame.
    columns
        Names and dtypes of the columns behind the leading ones.
    kwargs
        Parameters of the function.
    """
    leading, labels = leading_labels(frames, dims, list(columns))
    frames = frames.transpose(*leading, *dims)
    if frames.chunks is None:
        return function(frames.data, leading, labels, **kwargs)
    from dask.delayed import delayed

    make = delayed(function, pure=True)
    parts = [
        make(block, leading, own, **kwargs)
        for _, block, own in leading_blocks(whole(frames, dims), len(dims), labels)
    ]
    return table_of_parts(parts, empty_columns(leading, labels, columns))


def leading_blocks(
    frames: xr.DataArray, ndim: int, labels: Labels
) -> Iterator[tuple[tuple[int, ...], Any, Labels]]:
    """Give each chunk of Dask-backed `frames`, delayed, with its place and its labels.

    The last `ndim` dimensions are one chunk each.
    """
    blocks = frames.data.to_delayed()
    stops = [np.cumsum((0, *lengths)) for lengths in frames.chunks or ()][: len(labels)]
    for place in np.ndindex(blocks.shape[: len(labels)]):
        own = [
            values[stop[at] : stop[at + 1]]
            for values, stop, at in zip(labels, stops, place, strict=True)
        ]
        yield place, blocks[(*place, *(0,) * ndim)], own


def table_of_parts(parts: Sequence[Any], meta: pd.DataFrame) -> "dask.dataframe.DataFrame":
    """Return a Dask table of delayed `parts`, which look like `meta`."""
    import dask.dataframe

    table: dask.dataframe.DataFrame = dask.dataframe.from_delayed(
        list(parts), meta=meta, verify_meta=False
    )
    return table
