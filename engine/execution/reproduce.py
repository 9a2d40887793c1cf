"""Computing one unit at a desk: in one process, without a cluster, a queue or a ledger."""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from blake3 import blake3

from forebay.acquisition import open_run
from forebay.engine.definition import Algorithm, Sequential
from forebay.engine.errors import EngineError
from forebay.engine.execution.call import call
from forebay.engine.execution.wanted import algorithm_of
from forebay.engine.execution.work import fixed_axes, seen_frames
from forebay.engine.given import check_given
from forebay.engine.queue.dead import Attempt, DeadLetter
from forebay.engine.queue.retry import FailureClass
from forebay.engine.queue.submission import Target
from forebay.engine.registry import REGISTRY
from forebay.engine.results.files import PartFiles
from forebay.engine.results.form import common_form, form_of
from forebay.engine.results.output import Output, keepable
from forebay.engine.results.part import encode_part, read_state
from forebay.engine.unit import Job, Unit, plan, unit_at
from forebay.tiering import open_store


@dataclass(frozen=True, slots=True)
class DeskUnit:
    """A unit whose frames are at hand."""

    unit: Unit
    """The unit."""
    algorithm: Algorithm
    """The algorithm."""
    frames: xr.DataArray
    """The frames that it sees; lazily, unless the algorithm is eager."""
    arguments: dict[str, Any]
    """The algorithm's parameters, of the types that it declares."""
    state: Output | None = None
    """What the unit before has left, for a sequential algorithm."""
    fixed: Collection[str] | None = None
    """The axes that are as long in each part; None where there is but one part."""
    form: str | None = None
    """What the other parts of its result have in common; None for any."""

    def compute(self) -> Output:
        """Compute it as a worker would, and let every exception through."""
        output, state = self._compute()
        # A part that cannot be written, or is of another form, is a failure as any other.
        kept = keepable(output)
        encode_part(kept, state)
        if self.form is not None and self.fixed is not None:
            common_form(self.form, form_of(kept, fixed=self.fixed))
        return output

    def _compute(self) -> tuple[Output, Output | None]:
        return call(
            self.algorithm,
            self.unit,
            self.frames,
            self.arguments,
            state=self.state,
            scheduler="synchronous",
        )


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
    after: str | os.PathLike[str] | None = None,
    form: str | None = None,
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
    after
        For a sequential algorithm, the folder of the part with whose state it goes on; if not
        given, all blocks before are computed here, one after the other.
    form
        What the other parts of its result have in common, as ``forebay dead export`` writes it: a
        part of another form is refused, as it was when they were published.

    Returns
    -------
    DeskUnit
        The unit: its `frames` as the algorithm sees them, and `compute`, which calls it.

    Raises
    ------
    EngineError
        If no unit begins there.
    RunNotFoundError
        If there is no run.
    ParameterError, UnknownAlgorithmError
        If there is no such algorithm or parameter, or its value is of the wrong type.
    ResultDamagedError
        If the part that it goes on with has changed.

    Examples
    --------
    >>> import tempfile, forebay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
    ...     unit = forebay.reproduce(f"{folder}/run", "find-particles", frame=2)
    ...     unit.frames.shape, sorted(set(unit.compute()["t"]))
    ((2, 64, 64), [2, 3])
    """
    if isinstance(algorithm, str):
        REGISTRY.load(modules)
        algorithm = REGISTRY.get(algorithm, version)
    algorithm = algorithm_of(algorithm)
    check_given(reproduce, locals())
    run = open_run(open_store(location))
    bound = algorithm.bind(parameters or {})
    job, arguments = Job.of(run, algorithm, bound), algorithm.arguments(bound)
    before: str | None = None
    state: Output | None = None
    if after is not None:
        manifest = PartFiles(Path(after)).manifest()
        before = json.loads(manifest)["unit"]
        state = read_state(Path(after), blake3_digest=blake3(manifest).hexdigest())
    elif isinstance(algorithm.needs, Sequential):
        for unit, blocks in plan(run, job):
            if unit.core.t.start >= frame:
                break
            frames = seen_frames(run, unit, blocks, eager=algorithm.eager)
            earlier = DeskUnit(unit, algorithm, frames, arguments, state)
            _, state = earlier._compute()  # noqa: SLF001 (one of its own)
            before = unit.identity
    found = unit_at(run, job, start=frame, y=y, x=x, before=before)
    if found is None:
        raise EngineError(
            f"no unit of {algorithm.label} over {location} begins at frame {frame}, row {y}, "
            f"column {x}: units begin with the run's blocks"
        )
    unit, blocks = found
    frames = seen_frames(run, unit, blocks, eager=algorithm.eager)
    return DeskUnit(unit, algorithm, frames, arguments, state, fixed_axes(unit, run), form)


def script(
    letter: DeadLetter,
    attempts: Sequence[Attempt],
    *,
    modules: Iterable[str] = (),
    after: Path | None = None,
) -> str:
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
    after
        Folder of the part with whose state it goes on.
    """
    job = letter.target.job
    last = attempts[-1] if attempts else None
    story = "\n".join(f"#   {line}" for line in (last.traceback if last else "").splitlines())
    versions = "".join(
        f"#   {name} {version}\n"
        for name, version in sorted((last.environment if last else {}).items())
    )
    call_text = reproduce_text(
        letter.target,
        letter.start,
        letter.y,
        letter.x,
        modules=modules,
        after=after,
        form=letter.form if letter.failure == FailureClass.INVALID else None,
    )
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
{call_text}
print(unit.frames)
result = unit.compute()
print(result)
'''
    return text.replace("\0", "")


def reproduce_text(
    target: Target,
    frame: int,
    y: int,
    x: int,
    *,
    modules: Iterable[str] = (),
    after: Path | None = None,
    form: str | None = None,
) -> str:
    """Return the lines of a program that call `reproduce` for a unit, and name it ``unit``.

    Parameters
    ----------
    target
        What the unit is a part of.
    frame, y, x
        Where it begins.
    modules
        Paths of ``.py`` files, or names of modules, that declare algorithms.
    after
        Folder of the part with whose state it goes on.
    form
        What the other parts of its result have in common, if that is looked at.
    """
    job = target.job
    files = [str(Path(each).absolute()) if each.endswith(".py") else each for each in modules]
    going_on = "" if after is None else f"\n    after={str(after)!r},"
    of_form = "" if form is None else f"\n    form={form!r},"
    return f"""\
PARAMETERS = json.loads({json.dumps(job.parameters)!r})

unit = reproduce(
    {target.location!r},
    {job.algorithm!r},
    version={job.version!r},
    parameters=PARAMETERS,
    modules={files!r},
    frame={frame},
    y={y},
    x={x},{going_on}{of_form}
)"""


def _plain(text: str) -> str:
    """Return a text that cannot end the string that it is put into."""
    return text.replace("\\", "/").replace('"', "'")
