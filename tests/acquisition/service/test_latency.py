"""The histogram's numbers are those of the durations, within its bins."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.service.latency import LONGEST, SHORTEST, LatencyHistogram

EXACTNESS = 1.011
durations = st.lists(st.floats(SHORTEST, LONGEST) | st.floats(1e-4, 1e-2), min_size=1, max_size=200)
percents = st.floats(0, 100) | st.sampled_from([0.0, 50.0, 99.0, 99.9, 100.0])


def filled(seconds: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for each in seconds:
        histogram.record(each)
    return histogram


@given(durations, percents)
def test_percentiles_are_those_of_numpy(seconds: list[float], percent: float) -> None:
    """Within 1.1 %; at the edge of a rank, where rounding decides, either neighbour is right."""
    near = np.clip([percent - 1e-9, percent + 1e-9], 0, 100)
    low, high = np.percentile(seconds, near, method="inverted_cdf")
    assert low / EXACTNESS <= filled(seconds).percentile(percent) <= high * EXACTNESS


@given(durations)
def test_count_and_maximum_are_exact(seconds: list[float]) -> None:
    """The bins have no part in them."""
    histogram = filled(seconds)
    assert histogram.count == len(seconds)
    assert histogram.max == max(seconds)
    assert histogram.percentile(100) <= histogram.max


@given(durations, durations)
def test_however_they_come_in_the_durations_are_the_same(
    some: list[float], others: list[float]
) -> None:
    """One by one, or all at once."""
    singly = filled([*some, *others])
    at_once = LatencyHistogram()
    at_once.record_many(np.array(some))
    at_once.record_many(np.array(others))
    for percent in (0, 10, 50, 90, 100):
        # NumPy's logarithm may differ in its last digit, at the edge of a bin.
        assert at_once.percentile(percent) == pytest.approx(singly.percentile(percent), rel=0.022)
    assert at_once.count == singly.count
    assert at_once.max == singly.max


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 5e-324, SHORTEST, LONGEST, 1e9])
def test_what_is_beyond_the_range_is_counted(seconds: float) -> None:
    """At the end of it."""
    for histogram in (filled([seconds]), LatencyHistogram()):
        if not histogram.count:
            histogram.record_many(np.array([seconds]))
        assert histogram.count == 1
        assert histogram.max == histogram.percentile(50) == max(seconds, 0.0)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_what_is_no_duration_is_refused(seconds: float) -> None:
    """And nothing is counted."""
    histogram = LatencyHistogram()
    with pytest.raises(ValueError, match="finite number"):
        histogram.record(seconds)
    with pytest.raises(ValueError, match="finite number"):
        histogram.record_many(np.array([1.0, seconds]))
    assert histogram.count == 0


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan])
def test_there_are_percentiles_from_0_to_100(percent: float) -> None:
    """No others."""
    with pytest.raises(ValueError, match="give 0 to 100"):
        filled([1.0]).percentile(percent)


def test_without_a_duration_there_is_no_percentile() -> None:
    """Nor after none were added."""
    empty = LatencyHistogram()
    empty.record_many(np.empty(0))
    assert empty.count == 0
    assert math.isnan(empty.percentile(50))


def test_others_may_read_while_one_records() -> None:
    """The numbers of every moment fit together."""
    histogram = LatencyHistogram()
    written = threading.Event()

    def write() -> None:
        for _ in range(20_000):
            histogram.record(0.25)
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    counts = [0]
    while not written.is_set():
        counts.append(histogram.count)
        assert counts[-1] >= counts[-2]
        assert counts[-1] == 0 or histogram.percentile(99) == pytest.approx(0.25)
    writer.join(60)
    assert histogram.count == 20_000


def test_a_summary_has_what_is_looked_at() -> None:
    histogram = LatencyHistogram()
    assert histogram.summary() == {}
    for milliseconds in range(1, 1001):
        histogram.record(milliseconds / 1000)
    wanted = {"median": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    assert histogram.summary() == pytest.approx(wanted, rel=0.011)
