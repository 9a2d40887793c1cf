"""What the recalls of a job cost: written down before they are asked for, up to what was agreed."""

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import JOBS
from forebay.tiering.errors import ArchivedError

_ROUNDING = 1e-6
"""Parts of a sum may come to a little more than the sum."""


def charge(database: Database, job: int, cost: float) -> None:
    """Write down that a job is to have something recalled, unless that is more than was agreed to.

    Parameters
    ----------
    database
        The queue.
    job
        The job.
    cost
        What it costs.

    Raises
    ------
    ArchivedError
        If the job would cost more than that in all: then nothing is to be asked for.
    """
    of = JOBS.c.job == job
    room = JOBS.c.recall_cost + cost <= JOBS.c.recall_most + _ROUNDING
    with database.write() as connection:
        charged = connection.execute(
            sa.update(JOBS)
            .where(of, sa.or_(JOBS.c.recall_most.is_(None), room))
            .values(recall_cost=JOBS.c.recall_cost + cost)
        ).rowcount
        if charged:
            return
        spent, most = connection.execute(
            sa.select(JOBS.c.recall_cost, JOBS.c.recall_most).where(of)
        ).one()
    raise ArchivedError(
        f"job {job} would have recalled what costs about {cost:.2f}, and has spent {spent:.2f} of "
        f"the {most:.2f} that were agreed to: submit it again, and agree to more (--recall-cost)"
    )
