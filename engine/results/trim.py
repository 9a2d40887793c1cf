"""Keeping of an output what lies in the unit's core, and not in its halo."""

import pandas as pd
import xarray as xr

from forebay.acquisition import Extent
from forebay.engine.errors import OutputError
from forebay.engine.results.part import Output
from forebay.engine.unit import Unit


def trim(output: Output, unit: Unit) -> Output:
    """Return the part of an output that belongs to the core of a unit.

    What lies where is told by the coordinate, or the column, ``t``, ``y`` or ``x``; a pixel or a
    frame with the centre ``c`` reaches from ``c - 0.5`` to ``c + 0.5``.

    Raises
    ------
    OutputError
        If there is a halo and the output does not say what lies in it.
    """
    for name in ("t", "y", "x"):
        core, seen = getattr(unit.core, name), getattr(unit.seen, name)
        if core != seen:
            output = (
                _trim_rows(output, name, core, unit)
                if isinstance(output, pd.DataFrame)
                else _trim_axis(output, name, core, seen, unit)
            )
    if isinstance(output, xr.Dataset):
        # Parts are put together along t, so each has to say where it lies.
        position = {"t": [unit.core.t.start]}
        lacking = [name for name, array in output.data_vars.items() if "t" not in array.dims]
        if lacking:
            output = output.drop_vars("t", errors="ignore")
            output = output.assign(
                {name: output[name].expand_dims(position) for name in lacking}
            )
    return output


def _trim_rows(table: pd.DataFrame, name: str, core: Extent, unit: Unit) -> pd.DataFrame:
    if name not in table.columns:
        raise OutputError(
            f"the table of {unit.job.algorithm} has no column {name!r}, by which the rows of the "
            "halo could be told from the others; add it"
        )
    inside = (table[name] >= core.start - 0.5) & (table[name] < core.stop - 0.5)
    return table[inside].reset_index(drop=True)


def _trim_axis(
    arrays: xr.Dataset, name: str, core: Extent, seen: Extent, unit: Unit
) -> xr.Dataset:
    if name not in arrays.dims:
        raise OutputError(
            f"the arrays of {unit.job.algorithm} have no axis {name!r}, so that the halo cannot "
            "be told from the rest; keep the axis, or declare no halo along it"
        )
    if name in arrays.coords:
        inside = (arrays[name] >= core.start - 0.5) & (arrays[name] < core.stop - 0.5)
        return arrays.isel({name: inside.to_numpy()})
    if arrays.sizes[name] != len(seen):
        raise OutputError(
            f"the axis {name!r} that {unit.job.algorithm} returned has {arrays.sizes[name]} "
            f"values for {len(seen)} and no coordinate; keep the coordinate {name!r}"
        )
    return arrays.isel({name: slice(core.start - seen.start, core.stop - seen.start)})
