"""The rule that says how many workers a costlier cluster should have: a function of figures.

It asks nobody and keeps nothing but the `Standing` that it returns, so the very same code decides
in a service and in a simulation.
"""

import math
from dataclasses import dataclass, replace

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstRules:
    """When, and how far, a lane may use the costlier cluster."""

    most_wait_seconds: float
    """Wait from which on it is worth asking for more workers."""
    calm_wait_seconds: float
    """Wait below which it is not any more; well below the other, so that it does not flap."""
    looks: int = 4
    """Looks in a row that have to agree before the number of workers goes up."""
    cool_down_seconds: float = 300.0
    """Time for which a number of workers stays as it is, before it goes down."""
    maximum_workers: int = 1
    """Workers on the costlier cluster at the most."""
    step: int = 4
    """Workers that are added at a time, at the most."""
    price_ceiling: float | None = None
    """Price of a worker-hour above which nothing is asked for."""
    budget: float | None = None
    """What may be spent in a day."""
    bytes_per_second: float = 100e6
    """How fast data get to the costlier cluster."""
    start_seconds: float = 180.0
    """Time from asking for a worker to its first unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known when the rule is asked."""

    now: float
    """The time, in seconds of a clock that only goes forward."""
    backlog_seconds: float
    """Time that one thread would take for the lane's work that has not begun."""
    backlog_bytes: int
    """Bytes that this work reads."""
    units: int
    """Units that this work is in."""
    bytes_there: int = 0
    """Bytes of them that lie at the costlier cluster already."""
    units_paying: int | None = None
    """Units whose data are sooner there than they are computed on here; by the mean of all units
    where that is not known."""
    threads_here: int = 1
    """Threads that the lane has on its own cluster."""
    wait_for_threads: float = 0.0
    """Time that more threads there wait in a queue, as Slurm predicts it; 0 where none do."""
    threads_coming: int = 0
    """Threads that wait in that queue."""
    deadline_in: float | None = None
    """Time until the nearest deadline; None where there is none."""
    price: float | None = None
    """What a worker-hour costs there now."""
    threads_per_worker: int = 1
    """Threads of a worker there."""
    spent: float = 0.0
    """What was spent today, with what is promised."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rule has to remember from one time to the next."""

    workers: int = 0
    """Workers that it wants."""
    agreed: int = 0
    """Looks in a row that spoke for more."""
    changed_at: float = -math.inf
    """When the number was changed last."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rule says, with the figures that it comes from."""

    workers: int
    """Workers that there should be on the costlier cluster."""
    change: int
    """How many more, or less, than before."""
    reason: str
    """Why, in a sentence."""
    figures: dict[str, float | None]
    """What it was computed from."""
    standing: Standing
    """What to give the rule next time."""


def decide(situation: Situation, rules: BurstRules, standing: Standing) -> Decision:
    """Say how many workers the costlier cluster should have.

    Examples
    --------
    An hour of work for two threads is more than ten minutes may wait, at two looks in a row:

    >>> rules = BurstRules(most_wait_seconds=600, calm_wait_seconds=60, looks=2, maximum_workers=8)
    >>> now = Situation(now=0, backlog_seconds=7200, backlog_bytes=0, units=100, threads_here=2)
    >>> first = decide(now, rules, Standing()); first.workers, first.reason
    (0, 'a wait of 3600 s, above 600 s, was seen 1 of 2 times')
    >>> decide(now, rules, first.standing).workers
    4
    """
    figures = _figures(situation, rules, standing)
    wait = figures["wait_seconds"] or 0.0
    late = situation.deadline_in is not None and wait > situation.deadline_in
    if wait <= rules.calm_wait_seconds and not late:
        return _fewer(situation, rules, standing, figures)
    if wait <= rules.most_wait_seconds and not late:
        return _same(standing, figures, "the wait is between its bounds", agreed=0)
    refused = _refusal(situation, rules, figures)
    if refused:
        return _same(standing, figures, refused, agreed=0)
    why = (
        f"the deadline in {situation.deadline_in:.0f} s would be missed, at a wait of {wait:.0f} s"
        if late
        else f"a wait of {wait:.0f} s, above {rules.most_wait_seconds:g} s,"
    )
    agreed = standing.agreed + 1
    if agreed < rules.looks:
        return _same(standing, figures, f"{why} was seen {agreed} of {rules.looks} times", agreed)
    return _more(situation, rules, standing, figures, why)


def _figures(
    situation: Situation, rules: BurstRules, standing: Standing
) -> dict[str, float | None]:
    there = standing.workers * situation.threads_per_worker
    threads = max(1, situation.threads_here)
    wait = situation.backlog_seconds / (threads + there)
    if situation.threads_coming:
        # Threads that come after a while do their part of what is left by then.
        early = (threads + there) * situation.wait_for_threads
        rest = max(0.0, situation.backlog_seconds - early)
        wait = min(
            wait,
            situation.wait_for_threads + rest / (threads + there + situation.threads_coming),
        )
    missing = max(0, situation.backlog_bytes - situation.bytes_there)
    here = max(1, situation.threads_here)
    unit_seconds = situation.backlog_seconds / max(1, situation.units)
    unit_bytes = missing / max(1, situation.units)
    move = unit_bytes / rules.bytes_per_second
    paying = situation.units_paying
    if paying is None:
        each = pays(unit_seconds, unit_bytes, bytes_per_second=rules.bytes_per_second, here=here)
        paying = situation.units if each else 0
    else:
        # Those that go are there sooner than that, however large the others are.
        move = min(move, unit_seconds / here)
    return {
        "wait_seconds": wait,
        "backlog_seconds": situation.backlog_seconds,
        "units": situation.units,
        "threads_here": situation.threads_here,
        "threads_coming": situation.threads_coming,
        "wait_for_threads": situation.wait_for_threads,
        "threads_there": there,
        "deadline_in": situation.deadline_in,
        "bytes_to_move": missing,
        "move_seconds": move,
        "unit_seconds": unit_seconds,
        "units_paying": paying,
        "price": situation.price,
        "spent": situation.spent,
    }


def _refusal(situation: Situation, rules: BurstRules, figures: dict[str, float | None]) -> str:
    """Return why nothing more is asked for, although it is late; empty if it may be."""
    price = situation.price
    if rules.price_ceiling is not None and price is not None and price > rules.price_ceiling:
        return f"a worker-hour costs {price:g}, above the ceiling of {rules.price_ceiling:g}"
    if rules.budget is not None and situation.spent + (price or 0.0) > rules.budget + _EPSILON:
        return f"{situation.spent:.2f} of the day's budget of {rules.budget:g} are spent"
    wait = figures["wait_seconds"] or 0.0
    first = rules.start_seconds + (figures["move_seconds"] or 0.0)
    if first >= wait:
        return f"the first unit would begin there after {first:.0f} s, and here all are by then"
    if not figures["units_paying"]:
        return "moving the data takes longer than computing on them here"
    return ""


def pays(unit_seconds: float, unit_bytes: float, *, bytes_per_second: float, here: int) -> bool:
    """Tell whether the data of a unit are moved faster than units are computed where they are.

    Parameters
    ----------
    unit_seconds
        How long a thread is at a unit.
    unit_bytes
        What would have to be moved for it.
    bytes_per_second
        How fast it is moved.
    here
        Threads that are at units where the data are.

    Examples
    --------
    >>> pays(10.0, 9e6, bytes_per_second=1e6, here=1), pays(10.0, 9e6, bytes_per_second=1e6, here=2)
    (True, False)
    >>> pays(0.0, 0.0, bytes_per_second=1e6, here=2)
    True
    """
    return not unit_bytes or unit_bytes / bytes_per_second < unit_seconds / here + _EPSILON


def _more(
    situation: Situation,
    rules: BurstRules,
    standing: Standing,
    figures: dict[str, float | None],
    why: str,
) -> Decision:
    most = situation.deadline_in if situation.deadline_in is not None else rules.most_wait_seconds
    bound = max(1.0, min(most, rules.most_wait_seconds) - rules.start_seconds)
    threads = math.ceil(situation.backlog_seconds / bound) - max(1, situation.threads_here)
    paying = figures["units_paying"] or 0
    wanted = math.ceil(min(threads, paying) / situation.threads_per_worker)
    if situation.price and rules.budget is not None:
        affordable = math.floor((rules.budget - situation.spent) / situation.price + _EPSILON)
        wanted = min(wanted, standing.workers + affordable)
    wanted = min(rules.maximum_workers, standing.workers + rules.step, wanted)
    if wanted <= standing.workers:
        return _same(standing, figures, f"{why} and there are as many as help", rules.looks)
    return Decision(
        wanted,
        wanted - standing.workers,
        f"{why} and it pays to use {wanted - standing.workers} more",
        figures,
        Standing(wanted, 0, situation.now),
    )


def _fewer(
    situation: Situation,
    rules: BurstRules,
    standing: Standing,
    figures: dict[str, float | None],
) -> Decision:
    wait = figures["wait_seconds"] or 0.0
    if not standing.workers:
        return _same(standing, figures, f"a wait of {wait:.0f} s is short", agreed=0)
    # Without them it must not be too long again at once.
    without = situation.backlog_seconds / max(1, situation.threads_here)
    if without > rules.most_wait_seconds / 2:
        return _same(standing, figures, "without those workers it would be long again", agreed=0)
    since = situation.now - standing.changed_at
    if since < rules.cool_down_seconds:
        left = rules.cool_down_seconds - since
        return _same(standing, figures, f"they stay for another {left:.0f} s", agreed=0)
    return Decision(
        0,
        -standing.workers,
        f"a wait of {wait:.0f} s is short, and without them it is {without:.0f} s",
        figures,
        Standing(0, 0, situation.now),
    )


def _same(
    standing: Standing, figures: dict[str, float | None], reason: str, agreed: int
) -> Decision:
    return Decision(standing.workers, 0, reason, figures, replace(standing, agreed=agreed))
