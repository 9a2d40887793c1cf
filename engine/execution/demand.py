"""Telling a cluster how much work there is for it, so that it has the workers for that."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from forebay.cluster.keeping.talk import is_kept, tell_demand
from forebay.cluster.sizing import Demand
from forebay.engine.errors import ClusterLostError
from forebay.engine.execution.work import error_line
from forebay.engine.queue.backlog import Backlog, backlogs, needing_memory, usual_seconds
from forebay.engine.queue.database import Database
from forebay.engine.queue.waiting import waiting
from forebay.errors import ForebayError

_LOOK_SECONDS = 2.0
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._client = client
        self._cluster = cluster
        self._job = job
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
            found = self.demand()
            took = self._clock() - began
            standing = tell_demand(self._client, self._who, found)
        except ForebayError:
            raise
        except Exception as error:
            raise ClusterLostError(
                f"the Dask scheduler does not answer ({error_line(error)}); what is published "
                "stays: start the cluster again and run it again to go on"
            ) from error
        self._next = began + max(_LOOK_SECONDS, took / _SHARE)
        self._take_in(standing)

    def demand(self) -> Demand:
        """Return how much work waits for the cluster."""
        each = backlogs(self._database, cluster=self._cluster, job=self._job)
        found = sum(map(self._demand_of, each), Demand())
        if not found.units:
            return found
        idle = waiting(self._database, cluster=self._cluster, job=self._job)
        larger = needing_memory(self._database, cluster=self._cluster, job=self._job)
        return replace(found, data=idle.data, deadline_in=idle.deadline_in, larger=larger)

    def _demand_of(self, backlog: Backlog) -> Demand:
        # Units that take longer than they used to are believed to go on so.
        seconds = max(self._usual(backlog) or _GUESS_SECONDS, backlog.longest)
        return Demand(seconds * (backlog.units + backlog.behind), backlog.units)

    def _usual(self, backlog: Backlog) -> float | None:
        key = backlog.algorithm, backlog.version
        now = self._clock()
        seconds, until = self._seconds.get(key, (None, now))
        if now >= until or seconds is None:
            seconds = usual_seconds(self._database, *key)
            self._seconds[key] = seconds, now + _LEARN_SECONDS
        return seconds

    def _take_in(self, standing: dict[str, Any]) -> None:
        self.no_larger_because = str(standing.get("no_larger_because", ""))
        stopped = str(standing["stopped_because"])
        if stopped and stopped != self._stopped:
            _log.error("units wait: %s", stopped)
        self._stopped = stopped
        if stopped and self._job is not None and not standing["working"]:
            raise ClusterLostError(f"the cluster has no workers: {stopped}")
