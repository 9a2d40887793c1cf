"""A row that grows: all who went on from it see their own end, and share what lies before."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.format.growing import Growing

DEEDS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40)


@given(DEEDS)
def test_each_row_has_what_was_added_to_it_alone(deeds: list[tuple[int, bool]]) -> None:
    """However many went on from each other, a row is what a list of its own would be."""
    rows, lists = [Growing([0])], [[0]]
    for number, (which, onward) in enumerate(deeds):
        which %= len(rows)
        if onward:
            rows.append(rows[which].onward())
            lists.append([*lists[which]])
        else:
            rows[which].append(number)
            lists[which].append(number)
    for row, known in zip(rows, lists, strict=True):
        assert [*row] == known
        assert len(row) == len(known)
        assert row[-1] == known[-1] == row[len(known) - 1]
        assert (row[1:], row[:-1], row[::-2]) == (known[1:], known[:-1], known[::-2])
        assert row == Growing(known)
        assert pickle.loads(pickle.dumps(row)) == row
        with pytest.raises(IndexError):
            row[len(known)]


def test_going_on_from_a_long_row_takes_no_more_than_from_a_short_one() -> None:
    """What was read of a log of weeks is not copied at each look."""
    row = Growing(range(100_000))
    tracemalloc.start()
    try:
        further = row.onward()
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
    assert further == row


def test_rows_that_share_a_list_may_grow_in_several_threads() -> None:
    """None finds what another one has added."""
    first = Growing(range(100))

    def added(number: int) -> list[int]:
        row = first.onward()
        for _ in range(50):
            row.append(number)
        return row[100:]

    with ThreadPoolExecutor(8) as several:
        for number, found in enumerate(several.map(added, range(64))):
            assert found == [number] * 50
    assert [*first] == [*range(100)]
