"""Computing one unit at a desk: in one process, without a cluster, a queue or a ledger."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from forebay.acquisition import open_run
from forebay.engine.algorithm import Algorithm
from forebay.engine.errors import EngineError
from forebay.engine.execution.work import seen_frames
from forebay.engine.queue.dead import Attempt, DeadLetter
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
    modules: Iterable[str] = (),
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
    modules
        Paths of ``.py`` files, or names of modules, that declare algorithms.
    frame, y, x
        Where the unit begins.

    Raises
    ------
    EngineError
        If no unit begins there.
    """
    if isinstance(algorithm, str):
        REGISTRY.load(modules)
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


def script(letter: DeadLetter, attempts: Sequence[Attempt], *, modules: Iterable[str] = ()) -> str:
    """Return a program that computes a dead letter's unit in one process, at a desk.

    It opens the run where it lies and calls the algorithm on the frames that the unit sees,
    without a cluster, a queue or a ledger, so that a debugger stops where it fails.

    Parameters
    ----------
    letter
        The dead letter.
    attempts
        Its attempts.
    modules
        Paths of ``.py`` files, or names of modules, that declare algorithms.
    """
    job = letter.target.job
    last = attempts[-1] if attempts else None
    story = "\n".join(f"#   {line}" for line in (last.traceback if last else "").splitlines())
    versions = "".join(
        f"#   {name} {version}\n"
        for name, version in sorted((last.environment if last else {}).items())
    )
    files = [str(Path(each).absolute()) if each.endswith(".py") else each for each in modules]
    text = f'''"""Computes what failed as the unit {letter.unit[:12]} of {job.algorithm} {job.version}.

Attempts that were begun: {letter.attempts}. The last one failed with: {_plain(letter.error)}
"""

import json

from forebay.engine import reproduce

# Where it was raised then:
{story or "#   (there is no traceback)"}
#
# What took part then:
{versions}
PARAMETERS = json.loads({json.dumps(job.parameters)!r})

unit = reproduce(
    {letter.target.location!r},
    {job.algorithm!r},
    version={job.version!r},
    parameters=PARAMETERS,
    modules={files!r},
    frame={letter.start},
    y={letter.y},
    x={letter.x},
)
print(unit.frames)
result = unit.compute()
print(result)
'''
    return text.replace("\0", "")


def _plain(text: str) -> str:
    """Return a text that cannot end the string that it is put into."""
    return text.replace("\\", "/").replace('"', "'")
