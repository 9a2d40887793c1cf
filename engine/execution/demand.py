"""Telling a cluster how much work there is for it, so that it has the workers for that."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forebay.cluster.burst.choice import Choice
from forebay.cluster.keeping.talk import is_kept, tell_demand
from forebay.cluster.sizing import Demand
from forebay.engine.errors import ClusterLostError
from forebay.engine.execution.work import error_line
from forebay.engine.queue.backlog import Backlog, backlogs, needing_memory, usual_seconds
from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.waiting import Waiting, WaitingResult, waiting
from forebay.errors import ForebayError

_LOOK_SECONDS = 2.0
_SOON_SECONDS = 0.1
_SHARE = 0.02
"""Part of the time that may be spent on looking."""
_LEARN_SECONDS = 60.0
"""For how long is believed how long units take."""
_GUESS_SECONDS = 10.0
"""How long a unit takes of which none is done, as long as none takes longer."""

_log = logging.getLogger("forebay.engine")


class DemandTeller:
    """Tells a cluster, every few seconds, how much work waits; does nothing where none asks.

    Parameters
    ----------
    database
        The queue.
    client
        A `distributed.Client`, or None.
    cluster
        Name of the cluster.
    job
        The only job that it is used for; all that are for any service if not given.
    service
        Told what the cluster takes, if it says that it takes some of the work alone.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        database: Database,
        client: Any,
        *,
        cluster: str | None = None,
        job: int | None = None,
        service: Service | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._client = client
        self._cluster = cluster
        self._job = job
        self._service = service
        self._choice: Choice | None = None
        self._standing: dict[str, Any] = {}
        self._clock = clock
        # All services of a ledger say the same, and so say it under one name.
        self._who = database.name if job is None else f"{database.name}#{job}"
        self._kept: bool | None = None
        self._next = clock()
        self._seconds: dict[tuple[str, str], tuple[float | None, float]] = {}
        self._stopped = ""
        self.no_larger_because = ""
        """Why the cluster starts no worker with more memory any more; empty while it does."""

    def look(self) -> None:
        """Tell what there is, if it is time to.

        Raises
        ------
        ClusterLostError
            If the scheduler does not answer, or if the cluster has no workers, and asks for none
            any more since they did not start; the latter for a job of one's own alone.
        """
        began = self._clock()
        if self._client is None or began < self._next:
            return
        try:
            if self._kept is None:
                self._kept = is_kept(self._client)
            if not self._kept:
                self._client = None
                return
            found, took = self._tell()
        except ForebayError:
            raise
        except Exception as error:
            raise ClusterLostError(
                f"the Dask scheduler does not answer ({error_line(error)}); what is published "
                "stays: start the cluster again and run it again to go on"
            ) from error
        # A job of one's own is not planned yet when it is looked at first.
        soon = self._job is not None and not found.units
        self._next = began + max(_SOON_SECONDS if soon else _LOOK_SECONDS, took / _SHARE)
        self._complain()

    def _tell(self) -> tuple[Demand, float]:
        """Tell the cluster what there is, and learn how it stands; return how long looking took."""
        took = 0.0
        # Once more where it takes other work than before: nothing is handed out until that is known.
        for _ in range(2):
            began = self._clock()
            found = self.demand()
            took += self._clock() - began
            self._standing = tell_demand(self._client, self._who, found)
            # What somebody has started for a job of their own takes all of that.
            told = self._standing.get("choice") if self._job is None else None
            before, self._choice = self._choice, None if told is None else Choice(**told)
            if self._choice == before:
                break
        return found, took

    def withdraw(self) -> None:
        """Tell the cluster that there is no work any more, where it was told of some."""
        if not self._kept:
            return
        # It is forgotten by itself, though later.
        with contextlib.suppress(OSError, TimeoutError):
            tell_demand(self._client, self._who, Demand())

    def demand(self) -> Demand:
        """Return how much work waits for the cluster."""
        choice = self._choice
        lanes = None if choice is None else [Lane.of(each) for each in choice.lanes]
        each = backlogs(self._database, cluster=self._cluster, job=self._job, lanes=lanes)
        found = sum(map(self._demand_of, each), Demand())
        idle = Waiting()
        if found.units:
            idle = waiting(self._database, cluster=self._cluster, job=self._job, lanes=lanes)
            larger = needing_memory(self._database, cluster=self._cluster, job=self._job)
            found = replace(found, data=idle.data, deadline_in=idle.deadline_in, larger=larger)
        if choice is None:
            self._choose(None)
            return found
        usual = {(of.algorithm, of.version): self._seconds_of(of) for of in each}
        chosen = [of for of in idle.results if _takes(choice, of, usual)]
        self._choose([of.result for of in chosen])
        return replace(found, paying=sum(of.units for of in chosen))

    def _choose(self, results: Sequence[str] | None) -> None:
        if self._service is not None:
            self._service.choose(results)

    def _demand_of(self, backlog: Backlog) -> Demand:
        return Demand(
            self._seconds_of(backlog) * (backlog.units + backlog.behind),
            backlog.units,
            unit_seconds=self._usual(backlog) or 0.0,
        )

    def _seconds_of(self, backlog: Backlog) -> float:
        # Units that take longer than they used to are believed to go on so.
        return max(self._usual(backlog) or _GUESS_SECONDS, backlog.longest)

    def _usual(self, backlog: Backlog) -> float | None:
        key = backlog.algorithm, backlog.version
        now = self._clock()
        seconds, until = self._seconds.get(key, (None, now))
        if now >= until or seconds is None:
            seconds = usual_seconds(self._database, *key)
            self._seconds[key] = seconds, now + _LEARN_SECONDS
        return seconds

    def _complain(self) -> None:
        standing = self._standing
        self.no_larger_because = str(standing.get("no_larger_because", ""))
        stopped = str(standing.get("stopped_because", ""))
        if stopped and stopped != self._stopped:
            _log.error("units wait: %s", stopped)
        self._stopped = stopped
        if stopped and self._job is not None and not standing.get("working"):
            raise ClusterLostError(f"the cluster has no workers: {stopped}")


def _takes(choice: Choice, result: WaitingResult, seconds: Mapping[tuple[str, str], float]) -> bool:
    """Tell whether a cluster takes the units of a result."""
    if result.bound or not result.units:
        return True
    unit_seconds = seconds.get((result.algorithm, result.version), _GUESS_SECONDS)
    return choice.takes(unit_seconds, result.unit_bytes, result.folders)
