"""Whether work of a lane waits that could be computed now."""

import sqlalchemy as sa

from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, UNITS
from forebay.engine.queue.states import JobState, UnitState
from forebay.tiering.catalogue.migrating import Database


def work_waits(database: Database, lane: Lane) -> bool:
    """Tell whether a job of a lane has units that nobody has taken yet.

    Parameters
    ----------
    database
        The queue.
    lane
        The lane.
    """
    query = (
        sa.select(UNITS.c.unit)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == UNITS.c.result)
        .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
        .where(
            JOBS.c.state == JobState.READY,
            JOBS.c.lane == int(lane),
            UNITS.c.state == UnitState.READY,
        )
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(query).first() is not None
