"""A cluster that costs money: it has no more workers than pay, or than the budget has room for."""

import logging
import time
from typing import Any

from forebay.cluster.aws.specification import AwsModel
from forebay.cluster.burst.events import DecisionLog
from forebay.cluster.burst.rule import Situation, Standing, decide
from forebay.cluster.burst.settings import BurstSettings
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.service import KeptCluster
from forebay.cluster.sizing import Demand, Limits
from forebay.cluster.spending import Spending

_log = logging.getLogger("forebay.cluster")


class PaidCluster(KeptCluster):
    """A kept cluster whose size the burst rule and the budget have a say in.

    Parameters
    ----------
    keeper
        What keeps the machines.
    limits
        Between what the number of workers may be.
    paying
        What the cluster is, and what it may cost.
    name
        What it is called.
    spending
        What it has cost.
    more
        Of `KeptCluster`.
    """

    def __init__(
        self,
        keeper: Keeper,
        limits: Limits,
        *,
        paying: AwsModel,
        name: str,
        spending: Spending,
        **more: Any,
    ) -> None:
        super().__init__(keeper, limits, **more)
        self._paying = paying
        self._name = name
        self._spending = spending
        self._short = False
        self._burst = Standing()
        self._events = DecisionLog(paying.folder / name / "decisions.jsonl")

    def _jobs(self) -> int:
        wanted = super()._jobs()
        burst = self._paying.burst
        if self._fixed is None and burst is not None:
            wanted = max(self._limits.minimum, self._decided(burst))
        return self._affordable(wanted)

    def _decided(self, burst: BurstSettings) -> int:
        """Return how many workers the rule wants, and write down why."""
        paying, demand = self._paying, self._all_demand()
        situation = Situation(
            now=time.monotonic(),
            backlog_seconds=demand.seconds,
            backlog_bytes=0,
            units=demand.units,
            threads_here=burst.threads_here,
            price=paying.cost_per_worker_hour,
            threads_per_worker=paying.threads_per_worker,
            spent=self._spending.promised(),
        )
        rules = burst.rules(maximum_workers=paying.maximum_workers, budget=paying.budget_per_day)
        decision = decide(situation, rules, self._burst)
        self._burst = decision.standing
        self._events.take(self._name, decision)
        return decision.workers

    def _all_demand(self) -> Demand:
        return sum((each for each, _ in self._demands.values()), Demand())

    def _affordable(self, wanted: int) -> int:
        """Return how many of the workers that are wanted the budget has room for."""
        budget, price = self._paying.budget_per_day, self._paying.cost_per_worker_hour
        standing = self._keeper.standing
        there = standing.waiting + standing.starting + standing.working
        if budget is None or not price or wanted <= there:
            self._short = False
            return wanted
        room = int((budget - self._spending.promised()) / price + 1e-9)
        paid = min(wanted, there + max(0, room))
        if paid < wanted and not self._short:
            _log.warning(
                "%d workers are wanted and %d are paid for: today's budget of %g is spent or "
                "promised",
                wanted,
                paid,
                budget,
            )
        self._short = paid < wanted
        return paid
