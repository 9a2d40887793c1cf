"""How many workers there should be, by the work that there is.

The engine knows how long units took and how many are left; Dask does not, and takes half a second
for what it does not know.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Demand:
    """Work that is to be done."""

    seconds: float = 0.0
    """Time that one thread would take for all of it, as estimated."""
    units: int = 0
    """Units that it is in: so many threads have something to do, at the most."""
    data: Mapping[tuple[str, ...], int] = field(default_factory=dict, compare=False)
    """Bytes that the work reads which nobody is at, by the folders or buckets where they lie."""
    larger: int = 0
    """Units among them that have run out of memory, and need a worker that has more."""
    deadline_in: float | None = field(default=None, compare=False)
    """Time until the nearest deadline, in seconds; None where there is none."""
    paying: int | None = field(default=None, compare=False)
    """Units that a costlier cluster takes, by its own choice; all where it has made none known."""
    unit_seconds: float = field(default=0.0, compare=False)
    """What the shortest of the units takes, where that is known of all of them; else zero."""

    def __add__(self, other: "Demand") -> "Demand":
        """Return both together."""
        deadlines = [each.deadline_in for each in (self, other) if each.deadline_in is not None]
        chosen = [each for each in (self, other) if each.paying is not None]
        known = [each.unit_seconds for each in (self, other) if each.units]
        return Demand(
            self.seconds + other.seconds,
            self.units + other.units,
            dict(Counter(self.data) + Counter(other.data)),
            self.larger + other.larger,
            min(deadlines, default=None),
            self._taken + other._taken if chosen else None,
            min(known, default=0.0),
        )

    @property
    def _taken(self) -> int:
        return self.units if self.paying is None else self.paying

    def bytes_at(self, places: Collection[str]) -> int:
        """Return how much of the data lies in places that are given by how they begin.

        Examples
        --------
        >>> demand = Demand(data={("s3://archive/2026", "/data/runs"): 5, ("/data/runs",): 7})
        >>> demand.bytes_at(["s3://archive"]), demand.bytes_at([""])
        (5, 12)
        """
        begin = tuple(places)
        return sum(
            size
            for folders, size in self.data.items()
            if any(each.startswith(begin) for each in folders)
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """Between what the number of workers may be, and how eagerly it follows the work."""

    minimum: int
    """Workers that are kept when there is no work."""
    maximum: int
    """Workers that there are at the most."""
    threads_per_worker: int = 1
    """Units that a worker computes at once."""
    work_seconds: float = 300.0
    """Time in which all work is to be done."""
    idle_seconds: float = 600.0
    """Time for which fewer workers would do before there are fewer."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many workers there should be."""

    workers: int
    """Their number."""
    less_since: float | None = None
    """When fewer began to be enough; None while they are not."""


def workers_for(demand: Demand, limits: Limits) -> int:
    """Return how many workers do the work in the time that it may take.

    Examples
    --------
    >>> limits = Limits(minimum=0, maximum=8, work_seconds=60)
    >>> [workers_for(Demand(seconds, units=100), limits) for seconds in (0.1, 61, 1e6)]
    [1, 2, 8]
    >>> workers_for(Demand(1e6, units=3), limits), workers_for(Demand(), limits)
    (3, 0)
    """
    if demand.units <= 0:
        return limits.minimum
    threads = min(demand.units, max(1, math.ceil(demand.seconds / limits.work_seconds)))
    wanted = math.ceil(threads / limits.threads_per_worker)
    return max(limits.minimum, min(limits.maximum, wanted))


def next_size(before: Size, demand: Demand, limits: Limits, *, now: float) -> Size:
    """Return how many workers there should be now.

    More are wanted at once; fewer only when fewer have been enough for a while, so that a pause
    between two jobs costs no new start.

    Parameters
    ----------
    before
        What was said last.
    demand
        The work.
    limits
        The bounds.
    now
        The time, in seconds of any clock that only goes forward.

    Examples
    --------
    >>> limits = Limits(minimum=1, maximum=8, work_seconds=60, idle_seconds=10)
    >>> size = next_size(Size(1), Demand(240, 100), limits, now=0); size.workers
    4
    >>> size = next_size(size, Demand(), limits, now=5); size
    Size(workers=4, less_since=5)
    >>> next_size(size, Demand(), limits, now=15)
    Size(workers=1, less_since=None)
    """
    wanted = workers_for(demand, limits)
    if wanted >= before.workers:
        return Size(wanted)
    since = now if before.less_since is None else before.less_since
    if now - since >= limits.idle_seconds:
        return Size(wanted)
    return Size(min(before.workers, limits.maximum), since)
