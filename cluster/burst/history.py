"""What was written down while a load was there: how its own cluster stood, and what came of it."""

import statistics
from collections.abc import Iterable, Sequence

from forebay.cluster.burst.load import LoadUnit
from forebay.cluster.burst.simulation import Outcome, Own, Site
from forebay.cluster.decisions import DecisionEvent
from forebay.cluster.spending import Charge


def own_of(decisions: Iterable[DecisionEvent]) -> tuple[Own, ...]:
    """Return how the own cluster stood, as the burst rule was told at each of its decisions."""
    return tuple(
        Own(
            at=each.at,
            # As the rule itself does: without any, no work would ever be done.
            threads=max(1, each.situation["threads_here"]),
            coming=each.situation["threads_coming"],
            wait_seconds=each.situation["wait_for_threads"],
        )
        for each in sorted(decisions, key=lambda each: each.at)
        if each.situation is not None
    )


def as_it_was(load: Sequence[LoadUnit], charges: Iterable[Charge], site: Site) -> Outcome | None:
    """Return what really came of a load; None where its units do not say when they were done.

    Parameters
    ----------
    load
        The units, in the order of their coming.
    charges
        What the machines of the costlier cluster were charged for.
    site
        Where it was run: what its own threads cost is of it.
    """
    done = [each.done for each in load if each.done is not None]
    if len(done) < len(load):
        return None
    began, ended = load[0].at, max(done)
    latencies = [end - each.at for end, each in zip(done, load, strict=True)]
    cost_there = sum(each.cost(began, ended) for each in charges)
    return Outcome(
        units=len(load),
        units_there=None,
        makespan=ended - began,
        mean=statistics.fmean(latencies),
        median=statistics.median(latencies),
        worst=max(latencies),
        late=sum(
            each.deadline is not None and end > each.deadline
            for end, each in zip(done, load, strict=True)
        ),
        cost=cost_there + site.price_here * site.thread_hours(began, ended),
        cost_there=cost_there,
        decisions=(),
    )
