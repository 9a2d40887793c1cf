"""Going through the years of a laboratory with the policies that a mover goes by."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from forebay.tiering.catalogue.records import RunRecord, ShelfRecord
from forebay.tiering.policy import Suggestion, read_cost, suggestions
from forebay.tiering.recall_limit import LIMIT_DAYS, RecallLimit
from forebay.tiering.simulation.laboratory import MONTH_DAYS, Laboratory, copy_in
from forebay.tiering.specification import PolicySpecification, TierSpecification

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Point:
    """How things stand at the end of a step."""

    day: float
    """Days since the beginning."""
    bytes: Mapping[str, int]
    """What lies in each tier."""
    cost_per_month: float
    """What that costs in a month, with what was read in this step at the rate of a month."""


@dataclass(slots=True)
class Course:
    """What a set of policies costs over the years."""

    policies: str
    """Which policies."""
    storing: float = 0.0
    """What storing has cost."""
    reading: float = 0.0
    """What reading has cost: for moves, and by who reads runs again."""
    moved_bytes: int = 0
    """What was moved or copied."""
    full_days: dict[str, float] = field(default_factory=dict)
    """Days at the end of which a tier held more than its capacity."""
    points: list[Point] = field(default_factory=list)
    """The steps."""

    @property
    def cost(self) -> float:
        """What all of it has cost."""
        return self.storing + self.reading


def simulate(
    name: str,
    policies: Sequence[PolicySpecification],
    tiers: Mapping[str, TierSpecification],
    laboratory: Laboratory,
    *,
    min_copies: int = 1,
) -> Course:
    """Go through the years of a laboratory; what moves is what a mover would be asked to move.

    Runs are recorded into the first tier.  In each step they are recorded, read and moved, within
    the capacity of the tier that they go to and the bandwidth of both.  Graces are taken as
    shorter than a step.

    Parameters
    ----------
    name
        What the policies are called.
    policies
        The policies.
    tiers
        The tiers, by name; the first one is where runs are recorded.
    laboratory
        The laboratory.
    min_copies
        Copies in other tiers that have to be there before one goes.

    Examples
    --------
    >>> tiers = {"hot": TierSpecification(url="/hot", cost_per_gb_month=0.1),
    ...          "cold": TierSpecification(url="/cold", cost_per_gb_month=0.01)}
    >>> old = PolicySpecification.model_validate(
    ...     {"name": "old", "from": "hot", "to": "cold", "older_than_days": 30})
    >>> small = Laboratory(instruments=1, bytes_per_day=1e9, years=1.0)
    >>> nothing, moved = (simulate("", each, tiers, small) for each in ([], [old]))
    >>> nothing.cost > 3 * moved.cost
    True
    """
    shelves = _Shelves(tiers, min_copies)
    course = Course(name)
    recalled: list[tuple[float, str, float]] = []
    chance = random.Random(1)  # noqa: S311 (the same runs are read in every simulation)
    for step in range(laboratory.steps):
        shelves.begin(laboratory.step_days)
        reading = shelves.read(laboratory, step, chance)
        for run, copy in laboratory.record(step, next(iter(tiers))):
            shelves.put(run, copy)
        day = step * laboratory.step_days
        recalled = [each for each in recalled if each[0] > day - LIMIT_DAYS]
        spent: dict[str, float] = {}
        for _, policy, cost in recalled:
            spent[policy] = spent.get(policy, 0.0) + cost
        limit = RecallLimit(policies, spent)
        for each in suggestions(
            policies, tiers, list(shelves.runs.values()), shelves.all(), [],
            now=laboratory.time(step),
        ):  # fmt: skip
            if limit.allows(each) and shelves.move(each):
                recalled.append((day, each.policy, each.recall_cost))
                reading += each.cost
                course.moved_bytes += each.run.bytes
        months = laboratory.step_days / MONTH_DAYS
        storing = shelves.cost_per_month()
        course.storing += storing * months
        course.reading += reading
        for tier in shelves.full():
            course.full_days[tier] = course.full_days.get(tier, 0.0) + laboratory.step_days
        end = day + laboratory.step_days
        course.points.append(Point(end, dict(shelves.used), storing + reading / months))
    return course


class _Shelves:
    """The catalogue of a laboratory that is made up, in memory."""

    def __init__(self, tiers: Mapping[str, TierSpecification], min_copies: int) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.used = dict.fromkeys(tiers, 0)
        self._copies: dict[str, dict[str, ShelfRecord]] = {}
        self._tiers = tiers
        self._min_copies = min_copies
        self._left: dict[str, float] = {}

    def begin(self, days: float) -> None:
        """Let so many bytes go to and from each tier as it can take in some days."""
        for name, tier in self._tiers.items():
            if tier.bandwidth is not None:
                self._left[name] = tier.bandwidth * days * _DAY_SECONDS

    def put(self, run: RunRecord, copy: ShelfRecord) -> None:
        """Take in a run with its copy, or one more copy of it."""
        self.runs[run.run_id] = run
        self._copies.setdefault(run.run_id, {})[copy.tier] = copy
        self.used[copy.tier] += copy.bytes

    def all(self) -> list[ShelfRecord]:
        """Return every copy."""
        return [copy for copies in self._copies.values() for copy in copies.values()]

    def read(self, laboratory: Laboratory, step: int, chance: random.Random) -> float:
        """Read what is read in a step, from the best tier that has it; return what that costs."""
        cost = 0.0
        for run in list(self.runs.values()):
            if laboratory.is_read(run, step, chance):
                self.runs[run.run_id] = replace(run, read_at=laboratory.time(step))
                best = next(name for name in self._tiers if name in self._copies[run.run_id])
                cost += read_cost(run, self._tiers[best])
        return cost

    def move(self, wanted: Suggestion) -> bool:
        """Do what is suggested; tell whether there was room and time for it."""
        run, copies = wanted.run, self._copies[wanted.run.run_id]
        if wanted.target not in copies:
            capacity = self._tiers[wanted.target].capacity
            ends = (wanted.source, wanted.target)
            if capacity is not None and self.used[wanted.target] + run.bytes > capacity:
                return False
            if any(self._left.get(end, run.bytes) < run.bytes for end in ends):
                return False
            for end in set(ends) & set(self._left):
                self._left[end] -= run.bytes
            self.put(run, copy_in(run, wanted.target))
        if not wanted.keep and len(copies) > self._min_copies:
            self.used[wanted.source] -= copies.pop(wanted.source).bytes
        return True

    def cost_per_month(self) -> float:
        """Return what everything costs in a month."""
        return sum(
            used / 1e9 * self._tiers[name].cost_per_gb_month for name, used in self.used.items()
        )

    def full(self) -> list[str]:
        """Return the tiers that hold more than they may."""
        return [
            name
            for name, tier in self._tiers.items()
            if tier.capacity is not None and self.used[name] > tier.capacity
        ]
