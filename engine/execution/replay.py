"""Dead letters, tried again with another version of their algorithm or other parameters."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forebay.acquisition import Run, open_run
from forebay.engine.definition import Algorithm, Sequential
from forebay.engine.errors import JobError
from forebay.engine.execution.submit import SubmittedJob
from forebay.engine.queue.database import Database
from forebay.engine.queue.dead import DeadLetter
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.submission import Submission, Target
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Job, Unit, needed_bytes, plan
from forebay.tiering import open_store


def replay_with(
    database: Database,
    letters: Sequence[DeadLetter],
    algorithm: Algorithm,
    changes: Mapping[str, Any],
    *,
    lane: Lane = Lane.VALIDATION,
    owner: str = "",
) -> list[SubmittedJob]:
    """Compute the frames of dead letters by another version, or with other parameters.

    What comes of it is a result of its own, beside the one that the dead letters are of, and for
    their frames alone; the dead letters stay.

    Parameters
    ----------
    database
        The queue and the ledger.
    letters
        Dead letters, all of them of one algorithm.
    algorithm
        The version to compute with.
    changes
        Parameters to change; the others are as they were.
    lane
        The lane of the jobs.
    owner
        Who asks for them.

    Returns
    -------
    list of SubmittedJob
        One for each set of parameters.

    Raises
    ------
    JobError
        If the letters are of several algorithms, or it carries a state from block to block, so
        that no block can be computed by itself.
    ParameterError
        If the version has no such parameter, or lacks one that the letters have.
    """
    names = {letter.target.job.algorithm for letter in letters}
    if names != {algorithm.name}:
        told = " and ".join(sorted(names)) or "nothing"
        raise JobError(f"dead letters of {told} cannot be replayed with {algorithm.label}")
    if isinstance(algorithm.needs, Sequential):
        raise JobError(
            f"{algorithm.label} goes on from block to block, so that none can be computed by "
            "itself: submit a job over the whole run"
        )
    runs: dict[str, Run] = {}
    targets: dict[str, dict[str, Target]] = defaultdict(dict)
    units: dict[str, dict[str, dict[str, tuple[Unit, int]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for letter in letters:
        target = letter.target
        if target.location not in runs:
            runs[target.location] = open_run(open_store(target.location))
        run = runs[target.location]
        job = Job.of(run, algorithm, algorithm.bind({**target.job.parameters, **changes}))
        results = ResultFolder(Path(target.folder)).results(target.job.run_name)
        folder = ResultFolder.of(results, job)
        folder.check(job, ledger=database.name)
        group = repr(sorted(job.parameters.items()))
        targets[group][job.identity] = Target(job, target.location, str(folder.path))
        for unit in _over(run, job, letter):
            needed = needed_bytes(run, unit, algorithm, algorithm.arguments(job.parameters))
            units[group][job.identity][unit.identity] = (unit, needed)
    jobs = Jobs(database)
    return [
        SubmittedJob(
            _place(database),
            *jobs.submit(
                Submission(
                    targets=list(wanted.values()),
                    lane=lane,
                    owner=owner,
                    units={name: list(each.values()) for name, each in units[group].items()},
                )
            ),
        )
        for group, wanted in targets.items()
    ]


def _over(run: Run, job: Job, letter: DeadLetter) -> list[Unit]:
    """Return the units of a job that have frames and pixels in common with a dead letter."""
    first = -(-letter.start // run.layout.frames_per_block)
    found = []
    for unit, _ in plan(run, job, first_block=first):
        if unit.core.t.start >= letter.stop:
            break
        if unit.core.t.stop > letter.start:
            found.append(unit)
    tiles = [
        each for each in found if (each.core.y.start, each.core.x.start) == (letter.y, letter.x)
    ]
    return tiles or found


def _place(database: Database) -> Path | str:
    return database.name if "://" in database.name else Path(database.name)
