"""The square of pixels around each position of a table, and the table with what is found there."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace, to_host
from forebay.ops._blocks import whole
from forebay.ops._checks import check_frames, check_kernel, check_whole
from forebay.ops._tables import Labels, Table, leading_blocks, leading_labels, table_of_parts
from forebay.ops.errors import OperationError

SPACE = ("y", "x")
GROUP_PIXELS = 2**20
"""Spots are worked on together up to this many pixels of theirs."""

type Method = Callable[..., Mapping[str, Array]]
"""Takes windows (spots, side, side), float64, gives columns (spots,), places from the middle."""


def localised(
    method: Method,
    frames: xr.DataArray,
    positions: Table,
    *,
    radius: int,
    columns: Sequence[str],
    kwargs: Mapping[str, Any],
) -> Table:
    """Return `positions` with the `columns` that `method` gives for the spot at each.

    Parameters
    ----------
    method
        Gets the windows and `kwargs`.
    frames
        With ``y``, ``x`` and any others.
    positions
        With the columns ``y`` and ``x`` and the leading dimensions of `frames`.
    radius
        Of a window, pixels; it is ``2 * radius + 1`` wide.
    columns
        What the method gives.
    kwargs
        Parameters of the method.
    """
    check_frames(frames, SPACE)
    check_kernel(frames, SPACE, 2 * check_whole("radius", radius, least=1) + 1, f"radius={radius}")
    leading, labels = leading_labels(frames, SPACE, columns)
    table = getattr(positions, "_meta", positions)
    if not isinstance(table, pd.DataFrame):
        raise OperationError(
            f"positions is a {type(positions).__name__}, but must be a table such as "
            "find_particles gives"
        )
    for name in (*leading, *SPACE):
        if name not in table.columns:
            raise OperationError(
                f"positions has the columns {list(table.columns)}, but {name!r} is needed"
            )
    frames = frames.transpose(*leading, *SPACE)
    options: dict[str, Any] = {
        "method": method,
        "radius": int(radius),
        "columns": tuple(columns),
    } | dict(kwargs)
    if frames.chunks is None:
        if not isinstance(positions, pd.DataFrame):
            raise OperationError(
                "positions is a Dask table, but frames is no Dask array; use positions.compute()"
            )
        return spot_table(frames.data, leading, labels, positions, **options)
    from dask.delayed import delayed

    frames = whole(frames, SPACE)
    blocks = list(leading_blocks(frames, len(SPACE), labels))
    if isinstance(positions, pd.DataFrame):
        parts = _parted(positions, frames, leading, labels)
    else:
        parts = positions.to_delayed()  # type: ignore[no-untyped-call]
        if len(parts) != len(blocks):
            raise OperationError(
                f"positions has {len(parts)} partitions, but frames has {len(blocks)} chunks of "
                "whole frames; find the positions in these frames, or use positions.compute()"
            )
    make = delayed(spot_table, pure=True)
    tables = [
        make(block, leading, own, part, **options)
        for (_, block, own), part in zip(blocks, parts, strict=True)
    ]
    meta = table.iloc[:0].assign(**{name: np.empty(0) for name in columns})
    return table_of_parts(tables, meta)


def _parted(
    positions: pd.DataFrame, frames: xr.DataArray, leading: Sequence[Hashable], labels: Labels
) -> list[pd.DataFrame]:
    """Return the rows of `positions` that lie in each chunk along the leading dimensions."""
    counts = [len(lengths) for lengths in (frames.chunks or ())[: len(leading)]]
    if not leading:
        return [positions]
    chunk = [
        np.searchsorted(np.cumsum(lengths), index, side="right")
        for lengths, index in zip(
            frames.chunks or (), frame_indices(positions, leading, labels), strict=False
        )
    ]
    place = np.ravel_multi_index(chunk, counts)
    return [positions[place == index] for index in range(int(np.prod(counts)))]


def frame_indices(
    positions: pd.DataFrame, leading: Sequence[Hashable], labels: Labels
) -> list[np.ndarray[Any, np.dtype[np.intp]]]:
    """Return the index of each row's frame along each leading dimension."""
    indices = []
    for dim, values in zip(leading, labels, strict=True):
        index = pd.Index(values)
        if not index.is_unique:
            raise OperationError(
                f"the coordinate {dim!r} of frames has the same value more than once, so that a "
                f"table cannot say which frame is meant; use frames.drop_vars({dim!r})"
            )
        found = index.get_indexer(pd.Index(positions[dim]))
        if (found < 0).any():
            missing = positions[dim].to_numpy()[found < 0][0]
            raise OperationError(
                f"positions has a row with {dim} = {missing}, but frames has no such {dim!r}"
            )
        indices.append(found)
    return indices


def spot_table(
    block: Array,
    leading: Sequence[Hashable],
    labels: Labels,
    positions: pd.DataFrame,
    *,
    method: Method,
    radius: int,
    columns: Sequence[str],
    **kwargs: Any,
) -> pd.DataFrame:
    """Return `positions` in `block`, (..., y, x), with the columns that `method` gives.

    They are NaN where the window of a spot reaches beyond the frame, or a pixel of it is not
    finite.
    """
    xp, where = namespace(block), device(block)
    shape = block.shape[:-2]
    indices = frame_indices(positions, leading, labels)
    frame = np.ravel_multi_index(indices, shape) if leading else np.zeros(len(positions), np.intp)
    at = positions[list(SPACE)].to_numpy(np.float64)
    known = np.isfinite(at).all(axis=1)
    middle = np.rint(np.where(known[:, None], at, 0)).clip(-(2.0**31), 2.0**31).astype(np.int64)
    rows, across = block.shape[-2:]
    known &= ((middle >= radius) & (middle < np.array([rows, across]) - radius)).all(axis=1)
    found = {name: np.full(len(positions), np.nan) for name in columns}
    flat = xp.reshape(block, (-1,))
    side = np.arange(-radius, radius + 1)
    offsets = xp.asarray(side[:, None] * across + side, device=where)
    spots = np.flatnonzero(known)
    group = max(1, GROUP_PIXELS // side.size**2)
    for start, stop in pairwise([*range(0, spots.size, group), spots.size]):
        own = spots[start:stop]
        places = (frame[own] * rows + middle[own, 0]) * across + middle[own, 1]
        index = xp.asarray(places, device=where)[:, None, None] + offsets
        windows = xp.reshape(xp.take(flat, xp.reshape(index, (-1,))), index.shape)
        windows = xp.astype(windows, xp.float64)
        whole_spot = xp.all(xp.isfinite(windows), axis=(1, 2))
        windows = xp.where(whole_spot[:, None, None], windows, xp.zeros_like(windows))
        given = method(windows, **kwargs)
        values = xp.stack([given[name] for name in columns])
        values = to_host(xp.where(whole_spot, values, xp.full_like(values, xp.nan)))
        for name, each in zip(columns, values, strict=True):
            found[name][own] = each
    for axis, name in enumerate(SPACE):
        found[name] = found[name] + middle[:, axis]
    return positions.assign(**found)


def offsets_from_middle(windows: Array) -> Array:
    """Return the places of a window's rows, or columns, from its middle, float64."""
    xp, side = namespace(windows), windows.shape[-1]
    return xp.arange(side, dtype=xp.float64, device=device(windows)) - side // 2


def rim_median(windows: Array) -> Array:
    """Return the median of the outermost pixels of each window."""
    xp = namespace(windows)
    inner = windows[:, 1:-1, :]
    parts = [windows[:, 0, :], windows[:, -1, :], inner[:, :, 0], inner[:, :, -1]]
    rim = xp.sort(xp.concat(parts, axis=1), axis=1)
    half = rim.shape[1] // 2
    return (rim[:, half - 1] + rim[:, half]) / 2
