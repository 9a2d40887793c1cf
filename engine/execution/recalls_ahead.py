"""Asking archives for what units read, so many bytes ahead of what is done."""

import functools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forebay.acquisition import Run
from forebay.engine.execution.recalls import (
    RecallAgreement,
    UnitRecall,
    unit_recalls,
)
from forebay.engine.execution.wanted import done_units
from forebay.engine.queue.database import Database
from forebay.engine.queue.recall_costs import charge
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, UNITS
from forebay.engine.queue.states import ENDED_JOBS, UnitState
from forebay.engine.queue.submission import Target
from forebay.errors import ForebayError
from forebay.tiering.archive.signposted import ArchivedObject, recalls_of
from forebay.tiering.errors import ArchivedError

_ENDED_UNITS = (UnitState.DONE, UnitState.DEAD)
_AGREED = (
    sa.select(JOBS.c.job, JOBS.c.recall_ahead, JOBS.c.force, JOBS.c.created_at)
    .join(JOB_RESULTS, JOB_RESULTS.c.job == JOBS.c.job)
    .where(
        JOB_RESULTS.c.result == sa.bindparam("of"),
        JOBS.c.recall_ahead.is_not(None),
        JOBS.c.state.not_in(ENDED_JOBS),
    )
    .order_by(JOBS.c.recall_ahead.desc())
    .limit(1)
)
_ENDED = sa.select(UNITS.c.unit).where(
    UNITS.c.result == sa.bindparam("of"),
    UNITS.c.state.in_(_ENDED_UNITS),
    sa.func.coalesce(UNITS.c.ended_at, 0) >= sa.bindparam("since"),
)

type Charge = Callable[[float], None]
"""Told what a recall costs before it is asked for; it raises an error if that is too much."""

_log = logging.getLogger("forebay.engine")


class RecallWindow:
    """What units of a result need of archives, asked for in their order.

    Parameters
    ----------
    needs
        What they need, in their order.
    ahead_bytes
        Once so many bytes were asked for of which the units are not done, nothing more is.
    charge
        Told what it costs.
    """

    def __init__(self, needs: Iterable[UnitRecall], ahead_bytes: int, charge: Charge) -> None:
        self._left = deque(needs)
        self._charge = charge
        self._ahead_bytes = ahead_bytes
        self._asked: set[ArchivedObject] = set()
        self._ahead: dict[str, tuple[UnitRecall, int]] = {}

    def look(self, done: Collection[str], again: Collection[str] = ()) -> None:
        """Ask for what comes next, as far as there is room for it.

        Parameters
        ----------
        done
            Units that need nothing any more.
        again
            Units for which it is asked once more: what was recalled for them may be away again.

        Raises
        ------
        TieringError
            If an archive does not answer, or it would cost more than may be: what was not asked
            for is asked for the next time.
        """
        for unit in [unit for unit in self._ahead if unit in done]:
            del self._ahead[unit]
        self._request(
            found for unit in again if unit in self._ahead for found in self._ahead[unit][0].objects
        )
        room = self._ahead_bytes - sum(size for _, size in self._ahead.values())
        coming: list[tuple[UnitRecall, list[ArchivedObject]]] = []
        known = set(self._asked)
        while self._left and room > 0:
            each = self._left.popleft()
            if each.unit in done:
                continue
            new = [found for found in each.objects if found not in known]
            known.update(new)
            coming.append((each, new))
            room -= _size(new)
        try:
            self._request(found for _, new in coming for found in new)
        except BaseException:
            self._left.extendleft(each for each, _ in reversed(coming))
            raise
        self._asked = known
        self._ahead.update((each.unit, (each, _size(new))) for each, new in coming)

    def _request(self, objects: Iterable[ArchivedObject]) -> None:
        for _, recall in recalls_of(objects):
            if away := recall.look().away:
                self._charge(recall.cost(away))
            # Those that are near already stay so for as long.
            recall.request()


def _size(objects: Iterable[ArchivedObject]) -> int:
    return sum(each.bytes for each in objects)


def ask_first(
    run: Run,
    target: Target,
    agreement: RecallAgreement,
    *,
    ledger: Path | str,
    force: bool,
    charge: Charge,
) -> None:
    """Ask for what the first units of a result need, as far as there is room for it.

    Raises
    ------
    TieringError
        If an archive does not answer.
    """
    done = done_units(target, ledger, force=force)
    RecallWindow(unit_recalls(run, target, done), agreement.ahead_bytes, charge).look(done)


class RecallsAhead:
    """Keeps archives asked for what results need that are worked on, where that was agreed to.

    What is done is read from the ledger, so that it does not matter which service has done it.
    Archives are asked in a thread of its own.

    Parameters
    ----------
    database
        The queue and the ledger.
    every
        Time between two looks, in seconds.
    monotonic
        Seconds that never go back.
    """

    def __init__(
        self,
        database: Database,
        *,
        every: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._every = every
        self._monotonic = monotonic
        self._known: dict[str, _Result] = {}
        self._thread = ThreadPoolExecutor(1, "forebay-recalls")
        self._closed = threading.Event()

    def begin(self, target: Target, run: Run) -> None:
        """Begin to ask for what a result needs, if a job has agreed to that."""
        name = target.job.identity
        agreed = self._agreed(name)
        if agreed is None:
            self._known.pop(name, None)
        elif name not in self._known:
            # Those whose jobs have ended are not kept.
            self._known = {
                other: known for other, known in self._known.items() if self._agreed(other)
            }
            since = int(agreed.created_at) if agreed.force else 0
            charge = functools.partial(self._charge, name)
            self._known[name] = _Result(target, run, int(agreed.recall_ahead), since, charge)
            self.look(name)

    def waits(self, result: str) -> bool:
        """Tell whether what a result needs is asked for, though it may not be yet."""
        return result in self._known and self.refused(result) is None

    def refused(self, result: str) -> str | None:
        """Say why no more is asked for of what a result needs; None where it is."""
        known = self._known.get(result)
        return None if known is None else known.refused

    def look(self, result: str, *, again: Collection[str] = ()) -> None:
        """Have it looked how far a result has come, if it is time, or units wait for it.

        Parameters
        ----------
        result
            The result.
        again
            Units that cannot be computed for what is away.
        """
        found = self._known.get(result)
        now = self._monotonic()
        if found is None or not (again or now >= found.next_at):
            return
        if found.asking is not None:
            if not found.asking.done():
                return
            # What nobody has thought of is raised here.
            found.asking.result()
        found.next_at = now + self._every
        found.asking = self._thread.submit(self._ask, found, again)

    def close(self) -> None:
        """Ask for nothing more."""
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _agreed(self, result: str) -> sa.Row[Any, Any, Any, Any] | None:
        with self._database.read() as connection:
            return connection.execute(_AGREED, {"of": result}).one_or_none()

    def _charge(self, result: str, cost: float) -> None:
        agreed = self._agreed(result)
        if agreed is None:
            raise ArchivedError("no job that goes on has agreed to a recall")
        charge(self._database, int(agreed.job), cost)

    def _ask(self, found: "_Result", again: Collection[str]) -> None:
        if self._closed.is_set():
            return
        try:
            with self._database.read() as connection:
                wanted = {"of": found.target.job.identity, "since": found.since}
                done = frozenset(connection.execute(_ENDED, wanted).scalars())
            found.look(done, again)
            found.refused = None
        except (ForebayError, OSError) as error:
            if isinstance(error, ArchivedError):
                found.refused = str(error)
            name = found.target.job.run_name
            _log.warning("of %s nothing more is recalled for now: %s", name, error)


class _Result:
    """A result of which units need archives."""

    def __init__(
        self, target: Target, run: Run, ahead_bytes: int, since: int, charge: Charge
    ) -> None:
        self.target = target
        self.refused: str | None = None
        """Why no more is asked for: it would cost more than was agreed to."""
        self.since = since
        """Units that ended before are computed anew."""
        self.next_at = -math.inf
        self.asking: Future[None] | None = None
        self._run = run
        self._ahead_bytes = ahead_bytes
        self._charge = charge
        self._window: RecallWindow | None = None

    def look(self, done: Collection[str], again: Collection[str]) -> None:
        if self._window is None:
            needs = unit_recalls(self._run, self.target, done)
            self._window = RecallWindow(needs, self._ahead_bytes, self._charge)
        self._window.look(done, again)
