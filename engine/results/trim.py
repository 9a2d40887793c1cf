"""Keeping of an output what lies in the unit's core, and not in its halo."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from forebay.acquisition import Extent
from forebay.engine.definition import WholeRun
from forebay.engine.errors import OutputError
from forebay.engine.results.output import Output
from forebay.engine.unit import Unit

type Axis = Literal["t", "y", "x"]


def trim(output: Output, unit: Unit) -> Output:
    """Return the part of an output that belongs to the core of a unit.

    What lies where is told by the coordinate, or the column, ``t``, ``y`` or ``x``; a pixel or a
    frame with the centre ``c`` reaches from ``c - 0.5`` to ``c + 0.5``.  Arrays come back with
    the coordinates by which the parts are put together: ``t``, and ``y`` and ``x`` of tiles.

    Raises
    ------
    OutputError
        If the output does not say what lies where.
    """
    if isinstance(unit.job.needs, WholeRun):
        return output
    if isinstance(output, xr.Dataset) and not output.data_vars:
        raise OutputError(f"the Dataset that {unit.job.algorithm} returned has no variables")
    axes: tuple[Axis, ...] = ("t", "y", "x") if unit.tiled else ("t",)
    for axis in axes:
        core: Extent = getattr(unit.core, axis)
        seen: Extent = getattr(unit.seen, axis)
        if isinstance(output, xr.Dataset):
            output = _trim_arrays(output, axis, core, seen, unit)
        elif axis == "t" or core != seen:
            output = _trim_rows(output, axis, core, seen, unit)
    return output


def _trim_rows(
    table: pd.DataFrame, axis: Axis, core: Extent, seen: Extent, unit: Unit
) -> pd.DataFrame:
    if axis not in table.columns:
        raise OutputError(
            f"the table of {unit.job.algorithm} has no column {axis!r}, which says where a row "
            "belongs; add it, with the values of the frames' own coordinate"
        )
    if table[axis].isna().any():
        raise OutputError(
            f"the column {axis!r} of the table of {unit.job.algorithm} is empty in some rows, so "
            "that they cannot be placed; fill it, or leave those rows out"
        )
    kind = table[axis].infer_objects().dtype
    if len(table) and kind.kind not in "iuf":
        raise OutputError(
            f"the column {axis!r} of the table of {unit.job.algorithm} has the dtype {kind}; keep "
            "the place in the run, and give other columns other names"
        )
    _check_seen(table[axis].to_numpy(), axis, seen, unit)
    if core == seen:
        return table
    inside = (table[axis] >= core.start - 0.5) & (table[axis] < core.stop - 0.5)
    return table[inside].reset_index(drop=True)


def _check_seen(position: npt.NDArray[Any], axis: Axis, seen: Extent, unit: Unit) -> None:
    """Refuse what is placed where the unit has not looked, as counting from 0 in each block is."""
    outside = (position < seen.start - 0.5) | (position > seen.stop - 0.5)
    if axis == "t" and outside.any():
        raise OutputError(
            f"{unit.job.algorithm} returned {axis} = {position[outside][0]:g} for the frames "
            f"{seen.start} to {seen.stop - 1}: take {axis!r} from the frames' own coordinate"
        )


def _trim_arrays(
    arrays: xr.Dataset, axis: Axis, core: Extent, seen: Extent, unit: Unit
) -> xr.Dataset:
    lacking = [str(name) for name, array in arrays.data_vars.items() if axis not in array.dims]
    if lacking and axis not in arrays.dims:
        if core != seen:
            raise OutputError(
                f"the arrays of {unit.job.algorithm} have no axis {axis!r}, so that the halo "
                "cannot be told from the rest; keep the axis, or declare no halo along it"
            )
        return _placed(arrays, axis, core.start)
    if lacking:
        raise OutputError(
            f"of the arrays of {unit.job.algorithm}, {', '.join(lacking)} lack the axis {axis!r} "
            "that others have; give it to all, or return them from an algorithm of their own"
        )
    if axis not in arrays.dims:
        return arrays
    if axis not in arrays.coords:
        if arrays.sizes[axis] != len(seen):
            raise OutputError(
                f"the axis {axis!r} that {unit.job.algorithm} returned has {arrays.sizes[axis]} "
                f"values for {len(seen)} and no coordinate; keep the coordinate {axis!r}"
            )
        arrays = arrays.assign_coords({axis: np.arange(seen.start, seen.stop)})
    position = arrays[axis]
    if position.dtype.kind not in "iuf":
        raise OutputError(
            f"the coordinate {axis!r} that {unit.job.algorithm} returned has the dtype "
            f"{position.dtype}; keep the place in the run, and give other coordinates other names"
        )
    _check_seen(position.to_numpy(), axis, seen, unit)
    if core == seen:
        return arrays
    inside = (position >= core.start - 0.5) & (position < core.stop - 0.5)
    return arrays.isel({axis: inside.to_numpy()})


def _placed(arrays: xr.Dataset, axis: Axis, position: int) -> xr.Dataset:
    """Return arrays that stand for the whole unit, placed where the unit begins."""
    arrays = arrays.drop_vars(axis, errors="ignore").expand_dims({axis: [position]})
    if axis != "t":
        arrays = arrays.transpose(..., axis)
    # What is said once of the unit, such as the time of its first frame, differs between units.
    single = {name: each for name, each in arrays.coords.items() if each.ndim == 0}
    return arrays.assign_coords({name: each.expand_dims(axis) for name, each in single.items()})
