"""How many workers there should be: a rule without a clock, a queue or a cluster of its own."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.cluster.sizing import Demand, Limits, Size, next_size, workers_for

limits = st.builds(
    Limits,
    minimum=st.integers(0, 5),
    maximum=st.integers(5, 50),
    threads_per_worker=st.integers(1, 8),
    work_seconds=st.floats(0.1, 1e4),
    idle_seconds=st.floats(0.1, 1e4),
)
demands = st.builds(Demand, seconds=st.floats(0, 1e9), units=st.integers(0, 10_000))


@given(demands, limits)
def test_the_bounds_are_kept_and_no_worker_is_without_a_unit(
    demand: Demand, limits: Limits
) -> None:
    workers = workers_for(demand, limits)
    assert limits.minimum <= workers <= limits.maximum
    if demand.units and workers > limits.minimum:
        assert (workers - 1) * limits.threads_per_worker < demand.units
    if demand.units:
        assert workers >= 1


@given(demands, demands, limits)
def test_more_work_never_means_fewer_workers(one: Demand, more: Demand, limits: Limits) -> None:
    assert workers_for(one + more, limits) >= workers_for(one, limits)


@given(demands, limits)
def test_the_work_is_done_in_its_time_where_the_bounds_allow(
    demand: Demand, limits: Limits
) -> None:
    """Unless there are too few workers, or too few units to share it between."""
    workers = workers_for(demand, limits)
    threads = workers * limits.threads_per_worker
    enough = demand.seconds / max(1, threads) <= limits.work_seconds * (1 + 1e-9)
    assert enough or workers == limits.maximum or threads >= demand.units


@given(st.lists(st.tuples(st.floats(0, 100), demands), min_size=1, max_size=30), limits)
def test_there_are_fewer_only_when_fewer_were_enough_for_long(
    steps: list[tuple[float, Demand]], limits: Limits
) -> None:
    """Whatever comes: no worker is given back before `idle_seconds` of calm."""
    size, now, enough_since = Size(limits.minimum), 0.0, None
    for after, demand in steps:
        now += after
        before = size
        size = next_size(before, demand, limits, now=now)
        wanted = workers_for(demand, limits)
        if wanted < before.workers:
            enough_since = now if enough_since is None else enough_since
        assert size.workers >= min(wanted, limits.maximum)
        if size.workers < before.workers:
            assert enough_since is not None
            assert now - enough_since >= limits.idle_seconds
        if wanted >= before.workers or size.workers < before.workers:
            enough_since = None


def test_a_worker_computes_as_many_units_as_it_has_threads() -> None:
    limits = Limits(minimum=0, maximum=50, threads_per_worker=4, work_seconds=60)
    assert [workers_for(Demand(1e6, units=units), limits) for units in (1, 4, 5, 8)] == [1, 1, 2, 2]


def test_a_bound_that_was_lowered_holds_at_once() -> None:
    limits = Limits(minimum=0, maximum=4, idle_seconds=1e4)
    assert next_size(Size(8), Demand(), limits, now=0).workers == 4
