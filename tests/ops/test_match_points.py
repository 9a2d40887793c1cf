"""Pairs of points: `match_points`."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay.ops import OperationError, match_points

POINTS = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.integers(0, 6).map(float)
)


def best_by_trying_all(found: Any, truth: Any, distance: float) -> tuple[int, float]:
    """Return how many pairs there can be, and the least sum of their distances."""
    if len(found) > len(truth):
        found, truth = truth, found
    best = (0, 0.0)
    for partners in itertools.permutations(range(len(truth)), len(found)):
        apart = np.linalg.norm(found - truth[list(partners)], axis=-1)
        pairs = apart[apart <= distance]
        best = min(best, (-pairs.size, float(pairs.sum())))
    return -best[0], best[1]


@settings(deadline=None)
@given(found=POINTS, truth=POINTS, distance=st.floats(0.5, 8))
def test_no_other_pairing_is_better(found: Any, truth: Any, distance: float) -> None:
    """There are as many pairs as can be, no sum of distances is smaller, and no point is in two."""
    matches = match_points(found, truth, distance=distance)

    count, total = best_by_trying_all(found, truth, distance)
    assert len(matches.found) == count
    assert matches.distance.sum() == pytest.approx(total)
    assert len(set(matches.found)) == len(set(matches.truth)) == count
    apart = np.linalg.norm(found[matches.found] - truth[matches.truth], axis=-1)
    np.testing.assert_array_equal(matches.distance, apart)
    assert (apart <= distance).all()
    assert (np.diff(matches.found) > 0).all()


def test_a_greedy_choice_would_lose_a_pair() -> None:
    """The nearest pair is given up where that makes two pairs of one."""
    matches = match_points([[0.0], [1.0]], [[0.9], [1.9]], distance=1)

    assert matches.truth.tolist() == [0, 1]


@pytest.mark.parametrize(("found", "truth"), [([], [[1, 2]]), ([[1, 2]], []), ([], [])])
def test_nothing_matches_nothing(found: Any, truth: Any) -> None:
    """An empty set on either side gives no pairs, and no error."""
    matches = match_points(found, truth, distance=1)

    assert [len(each) for each in matches] == [0, 0, 0]


def test_tables_are_points_too() -> None:
    """The columns of a table are taken as they are, whatever its index."""
    table = pd.DataFrame({"y": [1.0, 5.0], "x": [2.0, 6.0]}, index=[7, 7])

    assert match_points(table[["y", "x"]], [[5, 6]], distance=0.1).found.tolist() == [1]


@pytest.mark.parametrize(
    ("found", "truth", "distance", "message"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], 0, "distance is 0"),
        ([[1.0, 2.0]], [[1.0, 2.0]], None, "distance is None"),
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]], 1, "found has 2 dimensions and truth 3"),
        ([1.0, 2.0], [[1.0, 2.0]], 1, r"found has the shape \(2,\)"),
        ([[1.0, 2.0]], [[1.0, np.nan]], 1, "truth has the shape .* must be finite"),
        ([["a", "b"]], [[1.0, 2.0]], 1, "found is a list that is no array of numbers"),
        ([[1.0, 2.0]], [[1.0], [1.0, 2.0]], 1, "truth is a list that is no array of numbers"),
    ],
)
def test_what_are_no_points_is_refused(found: Any, truth: Any, distance: Any, message: str) -> None:
    """Shapes that do not fit, and values that are no places, are errors that name the set."""
    with pytest.raises(OperationError, match=message):
        match_points(found, truth, distance=distance)
