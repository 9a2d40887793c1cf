"""The account of a run: each counter once, and losses under their own reasons."""

import itertools

import pytest

from forebay.acquisition.errors import FrameError
from forebay.acquisition.run.writing.account import NOT_DELIVERED, Account
from forebay.acquisition.run.writing.position import Position


@pytest.fixture
def account() -> Account:
    """One of a run that begins, whose clock goes on by one each time that it is asked."""
    return Account(Position(), gap="before", now=itertools.count(100).__next__)


def told(account: Account) -> list[tuple[int, int, str, int]]:
    return [(each.first, each.last, each.reason, each.at) for each in account.cut()]


def test_losses_that_follow_each_other_for_one_reason_are_one(account: Account) -> None:
    """From when the first of them was noticed."""
    for counter in (3, 4, 5):
        account.drop(counter, counter, reason="late")
    assert told(account) == [(3, 5, "late", 100)]
    assert told(account) == []
    assert (account.dropped, account.dropped_by_reason) == (3, {"late": 3})


def test_each_reason_is_told_of_by_itself(account: Account) -> None:
    account.drop(3, 4, reason="late")
    account.drop(5, 5, reason="the ring was full")
    account.drop(6, 6, reason="late")
    assert told(account) == [
        (3, 4, "late", 100),
        (5, 5, "the ring was full", 101),
        (6, 6, "late", 102),
    ]
    assert account.dropped_by_reason == {"late": 3, "the ring was full": 1}


def test_losses_with_a_frame_between_them_are_two(account: Account) -> None:
    account.drop(3, 3, reason="late")
    account.take(4, 4)
    account.drop(5, 5, reason="late")
    assert told(account) == [(3, 3, "late", 100), (5, 5, "late", 101)]
    assert (account.counted, account.dropped) == (3, 2)


def test_a_gap_has_the_time_at_which_the_frame_behind_it_came(account: Account) -> None:
    account.take(0, 0, waited=40e-9)
    account.take(3, 3, waited=40e-9)
    assert told(account) == [(1, 2, NOT_DELIVERED, 60)]


def test_a_gap_is_explained_once(account: Account) -> None:
    """And the usual reason holds for those behind the next frame."""
    account.take(0, 0)
    account.explain_gap("the cable was out")
    account.take(3, 3)
    account.take(5, 5)
    assert [each[:3] for each in told(account)] == [
        (1, 2, "the cable was out"),
        (4, 4, NOT_DELIVERED),
    ]


@pytest.mark.parametrize("counter", [3, 4])
def test_no_counter_comes_twice(account: Account, counter: int) -> None:
    account.take(3, 4)
    with pytest.raises(FrameError, match=f"frame {counter} comes again or too late: 5 was"):
        account.take(counter, counter)
    with pytest.raises(FrameError, match="5 is the next"):
        account.drop(counter, 9, reason="late")
    assert (account.counted, account.dropped, told(account)) == (2, 0, [])
