"""A cluster that costs money: it has no more workers than pay, or than the budget has room for."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from forebay.cluster.burst.rule import Situation, Standing, decide
from forebay.cluster.burst.settings import BurstSettings
from forebay.cluster.decisions import DecisionLog, decisions_path
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.crew import Crew
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.patience import patience_of
from forebay.cluster.keeping.pool import Pool
from forebay.cluster.keeping.service import KeptCluster
from forebay.cluster.paid import PaidModel
from forebay.cluster.slurm.queue_state import QueueState, queue_state
from forebay.cluster.spending import Spending

_log = logging.getLogger("forebay.cluster")


class PaidCluster(KeptCluster):
    """A kept cluster whose size the burst rule and the budget have a say in.

    Parameters
    ----------
    keeper
        What keeps the machines.
    paying
        What the cluster is, and what it may cost.
    name
        What it is called.
    spending
        What it has cost.
    written_as
        The cluster among whose decisions its own are written down; itself if not given.
    clock
        Seconds of a clock that only goes forward.
    more
        Of `KeptCluster`.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        paying: PaidModel,
        name: str,
        spending: Spending,
        written_as: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        **more: Any,
    ) -> None:
        decisions = DecisionLog(decisions_path(paying.place, written_as or name))
        super().__init__(keeper, paying.limits, name=name, decisions=decisions, clock=clock, **more)
        self._paying = paying
        self._spending = spending
        self._written = decisions
        self._short = False
        self._burst = Standing()
        self._decided_at = -math.inf
        self._queue: QueueState | None = None
        self._unknown = ""

    async def learn(self) -> None:
        """Ask Slurm how the cluster stands that does the work otherwise, if it is one of Slurm's."""
        burst = self._paying.burst
        if burst is None or burst.slurm is None:
            return
        try:
            self._queue, unknown = await queue_state(burst.slurm), ""
        except ClusterError as error:
            # What it was is not what it is: the rule goes by the settings meanwhile.
            self._queue, unknown = None, str(error)
        if unknown and unknown != self._unknown:
            _log.warning("how long %s waits is not known: %s", burst.slurm, unknown)
        self._unknown = unknown

    def _jobs(self) -> int:
        return self._affordable(super()._jobs())

    def _sized(self, now: float) -> int:
        burst = self._paying.burst
        if burst is None:
            return super()._sized(now)
        return max(self._limits.minimum, self._decided(burst))

    def standing(self) -> dict[str, Any]:
        """Return how the cluster stands, with what it takes of the work where that is not all."""
        burst = self._paying.burst
        if burst is None:
            return super().standing()
        choice = burst.choice(threads_here=self._threads_here(burst))
        return {**super().standing(), "choice": asdict(choice)}

    def _threads_here(self, burst: BurstSettings) -> int:
        return burst.threads_here if self._queue is None else self._queue.threads

    def situation(self, burst: BurstSettings) -> Situation:
        """Return what the burst rule is asked about."""
        paying, demand, queue = self._paying, self._demand(), self._queue
        threads = self._threads_here(burst)
        return Situation(
            now=self._clock(),
            backlog_seconds=demand.seconds,
            backlog_bytes=sum(demand.data.values()),
            bytes_there=demand.bytes_at(burst.data_there),
            units_paying=demand.paying,
            units=demand.units,
            threads_here=threads,
            wait_for_threads=0.0 if queue is None else max(0.0, queue.wait_seconds),
            threads_coming=0 if queue is None else queue.coming,
            deadline_in=demand.deadline_in,
            price=paying.cost_per_worker_hour,
            threads_per_worker=paying.threads_per_worker,
            spent=self._spending.promised(),
        )

    def _decided(self, burst: BurstSettings) -> int:
        """Return how many workers the rule wants, and write down why."""
        paying, before = self._paying, self._burst
        situation = self.situation(burst)
        if situation.now - self._decided_at < self._look_seconds / 2:
            # It was looked at between two looks, for there is news: that is none of those in a row.
            return before.workers
        self._decided_at = situation.now
        rules = burst.rules(maximum_workers=paying.maximum_workers, budget=paying.budget_per_day)
        decision = decide(situation, rules, before)
        self._burst = decision.standing
        self._written.take_burst(self._name, decision, situation, before)
        return decision.workers

    def _affordable(self, wanted: int) -> int:
        """Return how many of the workers that are wanted the budget has room for."""
        budget, price = self._paying.budget_per_day, self._paying.cost_per_worker_hour
        standing = self._keeper.standing
        there = standing.waiting + standing.starting + standing.working
        if budget is None or not price or wanted <= there:
            self._short = False
            return wanted
        promised = self._spending.promised()
        room = int((budget - promised) / price + 1e-9)
        paid = min(wanted, there + max(0, room))
        if paid < wanted and not self._short:
            self._written.take(
                "budget",
                self._name,
                workers=paid,
                change=paid - wanted,
                reason=f"{wanted} workers are wanted and {paid} are paid for: today's budget of "
                f"{budget:g} is spent or promised",
                figures={"budget": budget, "promised": promised, "price": price, "there": there},
            )
        self._short = paid < wanted
        return paid


def larger_cluster(
    paying: PaidModel, pool: Pool, crew: Crew, workers: str, name: str, spending: Spending
) -> PaidCluster:
    """Return what keeps the one worker of more memory.

    Parameters
    ----------
    paying
        What that worker is, as a cluster of its own.
    pool
        Where it comes from.
    crew
        The workers that report to the scheduler.
    workers
        What the others are called.
    name
        What the cluster is called.
    spending
        What it has cost.
    """
    keeper = Keeper(pool, crew, f"{workers}-larger", patience=patience_of(paying))
    return PaidCluster(
        keeper,
        paying=paying,
        name=f"{name}-larger",
        written_as=name,
        spending=spending,
        look_seconds=paying.look_seconds,
    )
