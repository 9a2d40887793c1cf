"""What a cluster has cost, kept on disk, and whether a day's budget has room for another machine.

A machine is written down before it is asked for and again when it has ended, so that a process
that dies between the two leaves a charge that is too high, never one that is too low.
"""

import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forebay.cluster.errors import BudgetSpentError, ClusterError

CHARGED_AHEAD = 3600.0
"""Seconds that a machine is charged for as soon as it is asked for."""
_DAY = 86_400.0
_WAIT_SECONDS = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS charges (
    token TEXT PRIMARY KEY,   -- what the request is known by, before and after it is answered
    start TEXT NOT NULL,      -- the start of the cluster that asked
    machine TEXT,             -- instance or task; NULL until the answer is there
    price REAL NOT NULL,      -- for an hour
    began REAL NOT NULL,      -- seconds since 1970-01-01 UTC
    ended REAL                -- NULL while it costs
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Charge:
    """A machine that costs money, or did."""

    token: str
    """What the request for it is known by."""
    start: str
    """The start of the cluster that asked for it."""
    machine: str | None
    """Instance or task; None where the answer to the request was never written down."""
    price: float
    """What it costs in an hour."""
    began: float
    """When it was asked for, in seconds since 1970-01-01 UTC."""
    ended: float | None = None
    """When it ended; None while it costs."""

    def cost(self, since: float, until: float) -> float:
        """Return what it costs between two times.

        Examples
        --------
        >>> Charge("a", "s", "i-1", price=2.0, began=1800.0).cost(0.0, 3600.0)
        1.0
        """
        ended = until if self.ended is None else min(until, self.ended)
        return self.price * max(0.0, ended - max(since, self.began)) / 3600.0

    def committed(self, since: float, until: float) -> float:
        """Return what it costs between two times, with what it is charged for ahead."""
        ahead = until if self.ended is not None else max(until, self.began + CHARGED_AHEAD)
        return self.cost(since, min(ahead, since + _DAY))


class Spending:
    """The charges of one cluster, in an SQLite file; every change is durable when it returns.

    Parameters
    ----------
    path
        The file; it is made, with its folder, when there is none.
    now
        Source of times in seconds since 1970-01-01 UTC.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     spending = Spending(Path(folder) / "spending.sqlite", now=lambda: 43_200.0)
    ...     token = spending.reserve("start-1", price=0.5, budget_per_day=0.9)
    ...     spending.began(token, "i-0123")
    ...     spending.reserve("start-1", price=0.5, budget_per_day=0.9)
    Traceback (most recent call last):
    ...
    forebay.cluster.errors.BudgetSpentError: 0.50 of today's budget of 0.90 are spent or promised \
to machines that run, and another machine is charged 0.50 for its first hour: raise \
budget_per_day, or wait until 00:00 UTC
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute(_TABLE)

    def reserve(self, start: str, *, price: float, budget_per_day: float | None) -> str:
        """Write down that a machine is asked for, if the budget has room; return its token.

        Raises
        ------
        BudgetSpentError
            If today's budget has no room for its first hour.
        """
        token = uuid.uuid4().hex
        with self._writing() as connection:
            now = self._now()
            if budget_per_day is not None:
                promised = _promised(_charges(connection), now)
                if promised + price > budget_per_day + 1e-9:
                    raise BudgetSpentError(
                        f"{promised:.2f} of today's budget of {budget_per_day:.2f} are spent or "
                        f"promised to machines that run, and another machine is charged "
                        f"{price:.2f} for its first hour: raise budget_per_day, or wait until "
                        "00:00 UTC"
                    )
            connection.execute(
                "INSERT INTO charges (token, start, price, began) VALUES (?, ?, ?, ?)",
                (token, start, price, now),
            )
        return token

    def began(self, token: str, machine: str) -> None:
        """Write down which machine came of a request."""
        with self._writing() as connection:
            connection.execute("UPDATE charges SET machine = ? WHERE token = ?", (machine, token))

    def refused(self, token: str) -> None:
        """Write down that no machine came of a request, as far as none is known, and no cost."""
        with self._writing() as connection:
            connection.execute("DELETE FROM charges WHERE token = ? AND machine IS NULL", (token,))

    def ended(self, machines: Collection[str]) -> None:
        """Write down that machines cost nothing any more."""
        with self._writing() as connection:
            now = self._now()
            connection.executemany(
                "UPDATE charges SET ended = ? WHERE machine = ? AND ended IS NULL",
                [(now, machine) for machine in machines],
            )

    def over(self, start: str) -> None:
        """Write down that nothing that a start has asked for costs anything any more."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE charges SET ended = ? WHERE start = ? AND ended IS NULL",
                (self._now(), start),
            )

    def postponed(self, machines: Collection[str]) -> None:
        """Write down that machines that were asked for have cost nothing until now."""
        with self._writing() as connection:
            now = self._now()
            connection.executemany(
                "UPDATE charges SET began = ? WHERE machine = ? AND ended IS NULL",
                [(now, machine) for machine in machines],
            )

    def charges(self) -> list[Charge]:
        """Return everything that was written down, oldest first."""
        with self._connection() as connection:
            return _charges(connection)

    def running(self) -> list[Charge]:
        """Return the machines that cost money as far as is known."""
        return [each for each in self.charges() if each.ended is None]

    def today(self) -> float:
        """Return what today (UTC) has cost so far."""
        now = self._now()
        return sum(each.cost(_midnight(now), now) for each in self.charges())

    def promised(self) -> float:
        """Return what today has cost, with what machines that run are charged ahead."""
        return _promised(self.charges(), self._now())

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            # Others wait here, so that two of them never see the same room in the budget.
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.Error as error:
            raise ClusterError(
                f"the record of what was spent, {self.path}, cannot be used ({error}): no machine "
                "is asked for without it"
            ) from error


def _charges(connection: sqlite3.Connection) -> list[Charge]:
    rows: list[Any] = connection.execute(
        "SELECT token, start, machine, price, began, ended FROM charges ORDER BY began, token"
    ).fetchall()
    return [Charge(*row) for row in rows]


def _promised(charges: Collection[Charge], now: float) -> float:
    return sum(each.committed(_midnight(now), now) for each in charges)


def _midnight(now: float) -> float:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.timestamp()
