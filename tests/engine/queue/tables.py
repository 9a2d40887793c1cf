"""All that is in a ledger, at one moment."""

from typing import Any

import sqlalchemy as sa
from tests.engine.queue.desk import Desk

from forebay.engine.queue.schema import DEPENDENCIES, JOB_RESULTS, JOBS, RESULTS, SERVICES, UNITS
from forebay.engine.queue.states import ENDED_JOBS, OPEN_UNITS


class Tables:
    """All that is in the tables, at one moment."""

    def __init__(self, desk: Desk) -> None:
        def rows(connection: sa.Connection, table: sa.Table) -> list[sa.Row[Any]]:
            return list(connection.execute(sa.select(table)))

        with desk.database.read() as connection:
            self.units = {row.unit: row for row in rows(connection, UNITS)}
            self.jobs = {row.job: row for row in rows(connection, JOBS)}
            self.results = {row.result: row for row in rows(connection, RESULTS)}
            self.services = {row.service for row in rows(connection, SERVICES)}
            self.after: dict[int, set[int]] = {job: set() for job in self.jobs}
            for row in rows(connection, DEPENDENCIES):
                self.after[row.job].add(row.after)
            self.asked: dict[int, set[str]] = {job: set() for job in self.jobs}
            for row in rows(connection, JOB_RESULTS):
                self.asked[row.job].add(row.result)

    def wanting(self, result: str) -> list[sa.Row[Any]]:
        """Return the jobs that have not ended and ask for a result."""
        return [
            row
            for job, row in self.jobs.items()
            if result in self.asked[job] and row.state not in ENDED_JOBS
        ]

    def of_job(self, job: int) -> list[sa.Row[Any]]:
        """Return the units of a job."""
        return [row for row in self.units.values() if row.result in self.asked[job]]

    def over(self, job: int) -> bool:
        """Tell whether nothing is left to do for a job."""
        results = [self.results[each] for each in self.asked[job]]
        live = self.jobs[job].live
        known = all(
            (row.closed if live else row.planned) or row.error is not None for row in results
        )
        return known and not any(row.state in OPEN_UNITS for row in self.of_job(job))
