"""Calling an algorithm: what it is given, and what must come back."""

from collections.abc import Mapping
from typing import Any

import xarray as xr
from dask.base import compute

from forebay.engine.definition import Algorithm, Sequential
from forebay.engine.errors import OutputError
from forebay.engine.results.output import Output, normalise
from forebay.engine.results.trim import trim
from forebay.engine.unit import Unit


def call(
    algorithm: Algorithm,
    unit: Unit,
    frames: xr.DataArray,
    arguments: Mapping[str, Any],
    *,
    state: Output | None = None,
    scheduler: str | None = None,
) -> tuple[Output, Output | None]:
    """Compute a unit.

    Parameters
    ----------
    algorithm
        What to compute.
    unit
        The unit.
    frames
        What it sees; lazily, unless the algorithm is eager.
    arguments
        The algorithm's parameters, of the types that it declares.
    state
        What the unit before has left; None for the first one.
    scheduler
        Dask's; the one that is set if not given.

    Returns
    -------
    output
        What belongs to the unit's core.
    state
        What the next unit goes on with; None for what is not sequential.

    Raises
    ------
    OutputError
        If what it returned cannot be kept.
    """
    chosen = {} if scheduler is None else {"scheduler": scheduler}
    needs = unit.job.needs
    left: Output | None = None
    if isinstance(needs, Sequential):
        pair = algorithm(frames, **arguments, **{needs.state: state})
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise OutputError(
                f"{algorithm.label} returned an object of the type {type(pair).__name__}; a sequential algorithm "
                "returns a pair of its result and the state for the next block"
            )
        ((returned, given),) = compute(pair, **chosen)  # type: ignore[no-untyped-call]
        left = None if given is None else normalise(given, algorithm=f"{algorithm.label}'s state")
    else:
        (returned,) = compute(algorithm(frames, **arguments), **chosen)  # type: ignore[no-untyped-call]
    return trim(normalise(returned, algorithm=algorithm.label), unit), left
