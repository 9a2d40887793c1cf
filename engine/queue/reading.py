"""Which jobs have yet to read some blocks of a run."""

from dataclasses import dataclass

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.states import ENDED_JOBS, OPEN_UNITS

_ASKED = (
    sa.select(
        JOBS.c.job,
        JOBS.c.partial,
        RESULTS.c.result,
        RESULTS.c.needs,
        RESULTS.c.planned,
        RESULTS.c.planned_blocks,
    )
    .join(JOB_RESULTS, JOB_RESULTS.c.job == JOBS.c.job)
    .join(RESULTS, RESULTS.c.result == JOB_RESULTS.c.result)
    .where(
        RESULTS.c.run_id == sa.bindparam("run"),
        RESULTS.c.error.is_(None),
        JOBS.c.state.not_in(ENDED_JOBS),
    )
    .order_by(JOBS.c.job)
)
"""What is still asked for of a run, as far as it can be planned."""
_OPEN = (
    sa.select(UNITS.c.unit)
    .where(
        UNITS.c.result == sa.bindparam("of"),
        UNITS.c.state.in_(OPEN_UNITS),
        UNITS.c.start < sa.bindparam("until"),
        UNITS.c.stop > sa.bindparam("since"),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Row:
    """Blocks of a run that follow each other."""

    blocks: range
    """Their numbers."""
    frames_per_block: int
    """Frames in each of them."""


def job_to_read(database: Database, run: str, row: Row | None) -> int | None:
    """Return a job that has not ended and has yet to read some blocks of a run.

    Parameters
    ----------
    database
        The queue and the ledger.
    run
        The run.
    row
        The blocks; all of the run if not given.
    """
    with database.read() as connection:
        for each in connection.execute(_ASKED, {"run": run}).all():
            planned = each.planned or (row is not None and each.planned_blocks >= row.blocks.stop)
            if not (planned or each.partial):
                # More units will come, of these blocks too.
                return int(each.job)
            since, until = 0, 2**62
            if row is not None:
                halo = int(each.needs.get("halo_frames", 0))
                since = row.blocks.start * row.frames_per_block - halo
                until = row.blocks.stop * row.frames_per_block + halo
            wanted = {"of": each.result, "since": since, "until": until}
            if connection.execute(_OPEN, wanted).first() is not None:
                return int(each.job)
    return None
