"""Computing a unit in pieces, one after the other, where it is too large for a worker's memory.

The unit stays what it is, and so does its part: only less of it is in memory at a time.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import xarray as xr

from forebay.acquisition import Extent
from forebay.engine.definition import Algorithm, Blockwise
from forebay.engine.errors import OutputError
from forebay.engine.results.form import common_form, form_of
from forebay.engine.results.output import Output, keepable
from forebay.engine.unit import Unit


def most_pieces(algorithm: Algorithm, unit: Unit) -> int:
    """Return in how many pieces a unit can be computed: at the most, each frame by itself."""
    return len(unit.core.t) if algorithm.divisible else 1


def in_pieces(unit: Unit, pieces: int, compute: Callable[[Unit], Output]) -> Output:
    """Compute a unit in pieces, each with its halo, and put together what they gave.

    Parameters
    ----------
    unit
        The unit, of an algorithm that is divisible.
    pieces
        How many there are; no more than the unit has frames.
    compute
        Computes a piece.

    Raises
    ------
    OutputError
        If what they gave does not fit together.
    """
    return _together([compute(each) for each in cut(unit, pieces)], unit)


def cut(unit: Unit, pieces: int) -> list[Unit]:
    """Return a unit's pieces: of some frames each, as alike in number as can be."""
    needs = unit.job.needs
    if not isinstance(needs, Blockwise):
        raise TypeError(f"what needs {needs!r} is not computed in pieces")
    core, seen = unit.core.t, unit.seen.t
    number = min(pieces, len(core))
    ends = [core.start + len(core) * place // number for place in range(number + 1)]
    cuts = []
    for start, stop in itertools.pairwise(ends):
        around = Extent(
            max(seen.start, start - needs.halo_frames), min(seen.stop, stop + needs.halo_frames)
        )
        cuts.append(
            replace(
                unit,
                core=replace(unit.core, t=Extent(start, stop)),
                seen=replace(unit.seen, t=around),
            )
        )
    return cuts


def _together(outputs: Sequence[Output], unit: Unit) -> Output:
    _check_alike(outputs, unit)
    arrays = [each for each in outputs if isinstance(each, xr.Dataset)]
    if arrays:
        return xr.concat(
            arrays,
            dim="t",
            data_vars="all",
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="override",
        )
    tables = [each for each in outputs if isinstance(each, pd.DataFrame)]
    # A table without rows may not know the types of its columns.
    filled = [each for each in tables if len(each)] or tables[:1]
    return pd.concat(filled, ignore_index=True)


def _check_alike(outputs: Sequence[Output], unit: Unit) -> None:
    """Refuse pieces of which one is of another form: put together they would be of a third."""
    kept = [keepable(each) for each in outputs]
    forms = [form_of(each, fixed=_all_but_t(each)) for each in kept]
    try:
        functools.reduce(common_form, forms)
    except OutputError as error:
        raise OutputError(
            f"{unit.job.algorithm} did not return the same form for all frames of {unit.label}: "
            f"{error}"
        ) from error


def _all_but_t(kept: pa.Table | xr.Dataset) -> list[str]:
    return [str(axis) for axis in kept.sizes if axis != "t"] if isinstance(kept, xr.Dataset) else []
