"""What a burst would have cost and brought: the rule itself, run over a recorded load.

Time here is that of the load: it goes from one thing that happens to the next.
"""

import bisect
import heapq
import itertools
import statistics
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from forebay.cluster.burst.load import LoadUnit
from forebay.cluster.burst.rule import (
    BurstRules,
    Decision,
    Situation,
    Standing,
    decide,
    pays,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """How the lane's own cluster stood, from a time on."""

    at: float
    """The time, in seconds of the load's clock."""
    threads: int
    """Threads that it had."""
    coming: int = 0
    """Threads that waited in a queue."""
    wait_seconds: float = 0.0
    """Time for which they were expected to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the load is run."""

    threads: int
    """Threads of the lane's own cluster, as long as nothing else is known."""
    own: tuple[Own, ...] = ()
    """How that stood, in the order of time; its threads are what the last one before a time says."""
    price_there: float
    """What a worker-hour costs on the costlier cluster."""
    price_besides: float = 0.0
    """What that cluster costs in an hour beside its workers, for as long as there is work."""
    threads_per_worker: int = 1
    """Threads of a worker there."""
    look_seconds: float = 5.0
    """Time between two decisions."""
    price_here: float = 0.0
    """What a thread-hour of the own cluster costs, whether it is used or not."""
    burst: bool = True
    """Whether the costlier cluster is used at all."""
    lanes: tuple[str, ...] | None = None
    """Lanes whose work the costlier cluster takes; all where they are not given."""

    def counts(self, unit: LoadUnit) -> bool:
        """Tell whether a unit is of a lane that the costlier cluster is for."""
        return self.lanes is None or unit.lane in self.lanes

    def takes(self, unit: LoadUnit, rules: BurstRules, now: float) -> bool:
        """Tell whether a unit goes to the costlier cluster, if there is room at a time."""
        if not self.counts(unit):
            return False
        moved = 0 if unit.there else unit.bytes
        here = max(1, self.at(now).threads)
        return pays(unit.seconds, moved, bytes_per_second=rules.bytes_per_second, here=here)

    def at(self, now: float) -> Own:
        """Return how the own cluster stands at a time."""
        number = bisect.bisect_right(self.own, now, key=lambda each: each.at)
        return self.own[number - 1] if number else Own(at=now, threads=self.threads)

    def changes_after(self, now: float) -> float | None:
        """Return when it is known to stand otherwise; None if it is not."""
        number = bisect.bisect_right(self.own, now, key=lambda each: each.at)
        return self.own[number].at if number < len(self.own) else None

    def thread_hours(self, since: float, until: float) -> float:
        """Return how many hours its threads are there between two times, together."""
        edges = [since, *(each.at for each in self.own if since < each.at < until), until]
        return (
            sum(self.at(begin).threads * (end - begin) for begin, end in itertools.pairwise(edges))
            / 3600
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load."""

    units: int
    """Units that were computed."""
    units_there: int | None
    """Those of them that were computed on the costlier cluster; None where that is not known."""
    makespan: float
    """Seconds until everything was done."""
    mean: float
    """Mean seconds from the coming of a unit to its end."""
    median: float
    """Half of the units were done within so many seconds."""
    worst: float
    """The unit that took longest was done after so many seconds."""
    late: int
    """Units that missed their deadline."""
    cost: float
    """What all workers cost."""
    cost_there: float
    """What of it was for the costlier cluster."""
    decisions: tuple[tuple[float, Decision], ...]
    """Decisions that changed the number of workers, with seconds since the load began."""


@dataclass(slots=True)
class _Worker:
    asked_at: float
    free: int
    leaving: bool = False


@dataclass(slots=True)
class _Backlog:
    """Work that has not begun, of which the sums are kept up: there may be very many units."""

    units: OrderedDict[int, LoadUnit] = field(default_factory=OrderedDict)
    """All that wait, the first first."""
    going: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Those of them that the costlier cluster takes."""
    seconds: float = 0.0
    bytes: int = 0
    bytes_there: int = 0
    counted: int = 0
    """Units of the lanes that these sums, and the deadlines, are of."""
    deadlines: list[tuple[float, int]] = field(default_factory=list)

    def put(self, name: int, unit: LoadUnit, *, counts: bool) -> None:
        """Let a unit wait."""
        self.units[name] = unit
        if counts:
            self._count(unit, 1)
            if unit.deadline is not None:
                heapq.heappush(self.deadlines, (unit.deadline, name))

    def take(self, name: int, *, counts: bool) -> None:
        """Let a unit begin."""
        unit = self.units.pop(name)
        self.going.pop(name, None)
        if counts:
            self._count(unit, -1)

    def _count(self, unit: LoadUnit, sign: int) -> None:
        self.counted += sign
        self.bytes += sign * unit.bytes
        self.bytes_there += sign * unit.bytes * unit.there
        # What is left by rounding is no work.
        self.seconds = self.seconds + sign * unit.seconds if self.counted else 0.0

    def deadline(self) -> float | None:
        """Return the nearest one."""
        while self.deadlines and self.deadlines[0][1] not in self.units:
            heapq.heappop(self.deadlines)
        return self.deadlines[0][0] if self.deadlines else None


@dataclass(slots=True)
class _Run:
    """A load under way."""

    site: Site
    rules: BurstRules
    waiting: _Backlog = field(default_factory=_Backlog)
    chosen_for: int = 0
    running: list[tuple[float, int, LoadUnit, "_Worker | None"]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    workers: list[_Worker] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    began: float = 0.0
    busy_here: int = 0
    units_there: int = 0
    late: int = 0
    cost_there: float = 0.0
    number: "itertools.count[int]" = field(default_factory=itertools.count)

    def look(self, now: float) -> None:
        """Ask the rule, and do what it says."""
        own, waiting = self.site.at(now), self.waiting
        if own.threads != self.chosen_for:
            self.chosen_for = own.threads
            waiting.going = OrderedDict(
                (name, None)
                for name, unit in waiting.units.items()
                if self.site.takes(unit, self.rules, now)
            )
        deadline = waiting.deadline()
        situation = Situation(
            now=now,
            backlog_seconds=waiting.seconds,
            backlog_bytes=waiting.bytes,
            bytes_there=waiting.bytes_there,
            units=waiting.counted,
            units_paying=len(waiting.going),
            threads_here=own.threads,
            wait_for_threads=max(0.0, own.wait_seconds - (now - own.at)),
            threads_coming=own.coming,
            deadline_in=None if deadline is None else deadline - now,
            price=self.site.price_there,
            threads_per_worker=self.site.threads_per_worker,
            spent=self.spent(now),
        )
        decision = decide(situation, self.rules, self.standing)
        self.standing = decision.standing
        if decision.change:
            self.decisions.append((now - self.began, decision))
        staying = [each for each in self.workers if not each.leaving]
        for _ in range(decision.workers - len(staying)):
            self.workers.append(_Worker(now, self.site.threads_per_worker))
        for each in staying[decision.workers :]:
            # What it is at, it finishes.
            each.leaving = True
        self.send_home(now)

    def spent(self, now: float) -> float:
        running = sum(now - each.asked_at for each in self.workers)
        return self.cost_there + running / 3600 * self.site.price_there

    def send_home(self, now: float) -> None:
        for each in [each for each in self.workers if each.leaving]:
            if each.free == self.site.threads_per_worker:
                self.workers.remove(each)
                self.cost_there += (now - each.asked_at) / 3600 * self.site.price_there

    def come(self, unit: LoadUnit, now: float) -> None:
        """Let a unit wait."""
        name = next(self.number)
        self.waiting.put(name, unit, counts=self.site.counts(unit))
        if self.site.takes(unit, self.rules, now):
            self.waiting.going[name] = None

    def hand_out(self, now: float) -> None:
        """Begin what there is room for: at home first."""
        waiting = self.waiting
        while waiting.units and self.busy_here < self.site.at(now).threads:
            self.busy_here += 1
            self.begin(now, next(iter(waiting.units)), None)
        while waiting.going:
            free = next(
                (
                    each
                    for each in self.workers
                    if each.free
                    and not each.leaving
                    and now >= each.asked_at + self.rules.start_seconds
                ),
                None,
            )
            if free is None:
                return
            free.free -= 1
            self.units_there += 1
            self.begin(now, next(iter(waiting.going)), free)

    def begin(self, now: float, name: int, worker: _Worker | None) -> None:
        unit = self.waiting.units[name]
        self.waiting.take(name, counts=self.site.counts(unit))
        moved = 0 if worker is None or unit.there else unit.bytes
        ends = now + moved / self.rules.bytes_per_second + unit.seconds
        heapq.heappush(self.running, (ends, next(self.number), unit, worker))

    def end(self, now: float, unit: LoadUnit, worker: _Worker | None) -> None:
        if worker is None:
            self.busy_here -= 1
        else:
            worker.free += 1
        self.latencies.append(now - unit.at)
        self.late += unit.deadline is not None and now > unit.deadline


def simulate(load: Sequence[LoadUnit], site: Site, rules: BurstRules) -> Outcome:
    """Run a load, with the rule deciding at every look about the costlier cluster.

    Parameters
    ----------
    load
        The units, in the order of their coming.
    site
        Where they are computed.
    rules
        The rule's bounds.

    Examples
    --------
    A day's work of an hour that comes at once, for two threads:

    >>> load = [LoadUnit(at=0, seconds=60) for _ in range(120)]
    >>> rules = BurstRules(
    ...     most_wait_seconds=600, calm_wait_seconds=60, maximum_workers=8, start_seconds=60
    ... )
    >>> alone = simulate(load, Site(threads=2, price_there=1.0, burst=False), rules)
    >>> helped = simulate(load, Site(threads=2, price_there=1.0), rules)
    >>> alone.makespan, alone.cost
    (3600.0, 0.0)
    >>> helped.makespan < 1200, helped.units_there > 60, round(helped.cost) in (1, 2)
    (True, True, True)
    """
    began = load[0].at
    run = _Run(site, rules, began=began)
    coming = deque(load)
    now, look_at = began, began
    while coming or run.waiting.units or run.running:
        if site.burst and now >= look_at:
            run.look(now)
            look_at = now + site.look_seconds
        while coming and coming[0].at <= now:
            run.come(coming.popleft(), now)
        run.hand_out(now)
        now = _next(run, coming, look_at if site.burst else None, now)
        while run.running and run.running[0][0] <= now:
            _, _, unit, worker = heapq.heappop(run.running)
            run.end(now, unit, worker)
        run.send_home(now)
    for each in run.workers:
        run.cost_there += (now - each.asked_at) / 3600 * site.price_there
    if site.burst:
        run.cost_there += (now - began) / 3600 * site.price_besides
    return Outcome(
        units=len(run.latencies),
        units_there=run.units_there,
        makespan=now - began,
        mean=statistics.fmean(run.latencies),
        median=statistics.median(run.latencies),
        worst=max(run.latencies),
        late=run.late,
        cost=run.cost_there + site.price_here * site.thread_hours(began, now),
        cost_there=run.cost_there,
        decisions=tuple(run.decisions),
    )


def _next(run: _Run, coming: Sequence[LoadUnit], look_at: float | None, now: float) -> float:
    """Return when something happens next."""
    times = [run.running[0][0]] if run.running else []
    if coming:
        times.append(coming[0].at)
    if look_at is not None:
        times.append(look_at)
    if run.waiting.units:
        changes = run.site.changes_after(now)
        times += [] if changes is None else [changes]
        starts = (each.asked_at + run.rules.start_seconds for each in run.workers)
        times += [at for at in starts if at > now]
    return max(now, min(times))
