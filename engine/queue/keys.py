"""Keys of jobs: who submits with the key of a job that has not ended finds that job."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from forebay.engine.errors import KeyTakenError
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS
from forebay.engine.queue.states import ENDED_JOBS
from forebay.engine.queue.submission import Submission, default_key

_MOST_NAMED = 3
_HOW = ("live", "force", "cluster", "private")


def job_of_key(connection: sa.Connection, submission: Submission) -> int | None:
    """Return the job that a submission would submit once more; None if there is none.

    How urgent it is does not matter, nor who asks for it; what is computed does.

    Parameters
    ----------
    connection
        Within a transaction.
    submission
        What somebody asks for.

    Raises
    ------
    KeyTakenError
        If the job of that key is of something else.
    """
    open_job = sa.select(JOBS).where(
        JOBS.c.key == (submission.key or default_key(submission)),
        JOBS.c.state.not_in(ENDED_JOBS),
    )
    known = connection.execute(open_job).first()
    if known is None:
        return None
    if submission.key is not None and (
        differences := [*_differences(connection, known, submission)]
    ):
        raise KeyTakenError(
            f"the key {submission.key!r} is that of job {known.job}, which has not ended and asks "
            f"for something else: {'; '.join(differences)}; submit this with another key, or "
            f"cancel that job first ('forebay jobs cancel {known.job}')"
        )
    return int(known.job)


def _differences(
    connection: sa.Connection, known: sa.Row[Any], submission: Submission
) -> Iterator[str]:
    """Tell in what a submission differs from a job, in words."""
    wanted = submission.targets[0].job
    was, now = f"{known.algorithm}-{known.version}", f"{wanted.algorithm}-{wanted.version}"
    if was != now:
        yield f"it is of {was}, not of {now}"
    for name in sorted(known.parameters.keys() | wanted.parameters.keys()):
        one, other = known.parameters.get(name), wanted.parameters.get(name)
        if one != other:
            yield f"its {name} is {one!r}, not {other!r}"
    of_job = (
        sa.select(RESULTS.c.run_id, RESULTS.c.run_name)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
        .where(JOB_RESULTS.c.job == known.job)
    )
    mine = {each.job.run_id: each.job.run_name for each in submission.targets}
    its = {row.run_id: row.run_name for row in connection.execute(of_job)}
    if more := its.keys() - mine.keys():
        yield f"it goes over {_named([its[each] for each in more])} too"
    if less := mine.keys() - its.keys():
        yield f"it does not go over {_named([mine[each] for each in less])}"
    for name in _HOW:
        one, other = getattr(known, name), getattr(submission, name)
        if one != other:
            yield f"its {name} is {one}, not {other}"
    if known.partial != (submission.units is not None):
        yield f"it is of {'chosen' if known.partial else 'all'} units"


def _named(runs: list[str]) -> str:
    """Return the names of runs, or of some of them."""
    shown = ", ".join(sorted(runs)[:_MOST_NAMED])
    return shown if len(runs) <= _MOST_NAMED else f"{shown} and {len(runs) - _MOST_NAMED} others"
