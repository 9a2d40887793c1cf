"""Computing one unit at a desk: in one process, without a cluster, a queue or a ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from forebay.acquisition import open_run
from forebay.engine.algorithm import Algorithm
from forebay.engine.errors import EngineError
from forebay.engine.execution.work import seen_frames
from forebay.engine.registry import REGISTRY
from forebay.engine.results.output import Output, normalise
from forebay.engine.results.trim import trim
from forebay.engine.unit import Job, Unit, unit_at
from forebay.tiering import open_store


@dataclass(frozen=True, slots=True)
class DeskUnit:
    """A unit whose frames are at hand."""

    unit: Unit
    """The unit."""
    algorithm: Algorithm
    """The algorithm."""
    frames: xr.DataArray
    """The frames that it sees, lazily."""
    arguments: dict[str, Any]
    """The algorithm's parameters, of the types that it declares."""

    def compute(self) -> Output:
        """Compute it as a worker would, and let every exception through."""
        from dask.base import compute

        returned = self.algorithm(self.frames, **self.arguments)
        (returned,) = compute(returned, scheduler="synchronous")  # type: ignore[no-untyped-call]
        return trim(normalise(returned, algorithm=self.algorithm.label), self.unit)


def reproduce(
    location: str,
    algorithm: Algorithm | str,
    /,
    *,
    version: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    frame: int = 0,
    y: int = 0,
    x: int = 0,
) -> DeskUnit:
    """Return one unit of an algorithm over a run, to be computed in this process.

    Parameters
    ----------
    location
        Path or URL of the run.
    algorithm
        The algorithm, or its name.
    version
        Its version, the newest if not given.
    parameters
        Its parameters.
    frame, y, x
        Where the unit begins.

    Raises
    ------
    EngineError
        If no unit begins there.
    """
    if isinstance(algorithm, str):
        REGISTRY.load()
        algorithm = REGISTRY.get(algorithm, version)
    run = open_run(open_store(location))
    bound = algorithm.bind(parameters or {})
    found = unit_at(run, Job.of(run, algorithm, bound), start=frame, y=y, x=x)
    if found is None:
        raise EngineError(
            f"no unit of {algorithm.label} over {location} begins at frame {frame}, row {y}, "
            f"column {x}: units begin with the run's blocks"
        )
    unit, blocks = found
    frames = seen_frames(run, unit, blocks)
    return DeskUnit(unit, algorithm, frames, algorithm.arguments(bound))
