"""What a cluster has cost, and a budget that holds whatever becomes of the process."""

import multiprocessing
from pathlib import Path

import pytest

from forebay.cluster.errors import BudgetSpentError, ClusterError
from forebay.cluster.spending import Spending

NOON = 1_800_000_000.0 - 1_800_000_000.0 % 86_400.0 + 43_200.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def test_what_was_spent_outlives_the_process_that_spent_it(tmp_path: Path) -> None:
    """Another one that opens the record knows the same, and holds to the same budget."""
    clock = Clock()
    first = Spending(tmp_path / "spending.sqlite", now=clock)
    first.began(first.reserve("a", price=2.0, budget_per_day=3.0), "i-1")
    clock.now += 1800
    second = Spending(tmp_path / "spending.sqlite", now=clock)
    assert second.today() == pytest.approx(1.0)
    assert [each.machine for each in second.running()] == ["i-1"]
    with pytest.raises(BudgetSpentError, match=r"2\.00 of today's budget of 3\.00 .* wait until"):
        second.reserve("b", price=2.0, budget_per_day=3.0)


def test_a_request_whose_answer_was_lost_is_charged_for(tmp_path: Path) -> None:
    """A process that dies while it asks has written down before that it does."""
    spending = Spending(tmp_path / "spending.sqlite", now=Clock())
    spending.reserve("a", price=1.5, budget_per_day=None)
    assert spending.promised() == pytest.approx(1.5)
    assert [each.machine for each in spending.running()] == [None]


def test_what_was_refused_costs_nothing(tmp_path: Path) -> None:
    """Where there is no capacity the budget keeps its room."""
    spending = Spending(tmp_path / "spending.sqlite", now=Clock())
    spending.refused(spending.reserve("a", price=1.5, budget_per_day=2.0))
    assert spending.promised() == 0.0
    spending.reserve("a", price=1.5, budget_per_day=2.0)


def test_the_day_ends_at_midnight(tmp_path: Path) -> None:
    """A machine that runs on is charged to the new day from there on."""
    clock = Clock()
    spending = Spending(tmp_path / "spending.sqlite", now=clock)
    spending.began(spending.reserve("a", price=1.0, budget_per_day=None), "i-1")
    clock.now += 12 * 3600 - 1
    assert spending.today() == pytest.approx(12.0, abs=0.01)
    clock.now += 3601
    assert spending.today() == pytest.approx(1.0)
    spending.ended(["i-1"])
    clock.now += 7200
    assert spending.today() == pytest.approx(1.0)
    # It ends once: what is said of it later changes nothing.
    spending.ended(["i-1"])
    assert spending.today() == pytest.approx(1.0)


def test_an_hour_ahead_ends_with_the_day(tmp_path: Path) -> None:
    """What is charged for the rest of it belongs to the budget of the next day."""
    clock = Clock()
    clock.now += 11.5 * 3600
    spending = Spending(tmp_path / "spending.sqlite", now=clock)
    spending.reserve("a", price=2.0, budget_per_day=None)
    assert spending.promised() == pytest.approx(1.0)
    clock.now += 0.5 * 3600
    assert spending.promised() == pytest.approx(1.0)


def test_the_end_of_a_start_ends_what_ran_and_nothing_else(tmp_path: Path) -> None:
    clock = Clock()
    spending = Spending(tmp_path / "spending.sqlite", now=clock)
    for start, machine in (("a", "i-1"), ("a", "i-2"), ("b", "i-3")):
        spending.began(spending.reserve(start, price=1.0, budget_per_day=None), machine)
    clock.now += 3600
    spending.ended(["i-1"])
    clock.now += 3600
    spending.over("a")
    clock.now += 3600
    assert [each.machine for each in spending.running()] == ["i-3"]
    assert spending.today() == pytest.approx(1.0 + 2.0 + 3.0)


def test_nobody_sees_the_room_that_somebody_is_about_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From when one has looked at the record until it has written, others wait."""
    monkeypatch.setattr("forebay.cluster.spending._WAIT_SECONDS", 0.01)
    path = tmp_path / "spending.sqlite"
    other = Spending(path, now=Clock())

    def meanwhile() -> float:
        with pytest.raises(ClusterError, match="locked"):
            other.reserve("b", price=1.0, budget_per_day=1.0)
        return NOON

    Spending(path, now=meanwhile).reserve("a", price=1.0, budget_per_day=1.0)
    with pytest.raises(BudgetSpentError):
        other.reserve("b", price=1.0, budget_per_day=1.0)


def _reserve(path: Path, room: "multiprocessing.queues.Queue[bool]") -> None:
    spending = Spending(path, now=Clock())
    for _ in range(5):
        try:
            spending.reserve("a", price=1.0, budget_per_day=7.0)
        except BudgetSpentError:
            room.put(False)
        else:
            room.put(True)


def test_two_processes_never_take_the_same_room(tmp_path: Path) -> None:
    """Of ten requests at once, as many are let through as the budget has room for."""
    path = tmp_path / "spending.sqlite"
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    both = [context.Process(target=_reserve, args=(path, answers)) for _ in range(2)]
    for each in both:
        each.start()
    given = [answers.get(timeout=30) for _ in range(10)]
    for each in both:
        each.join(30)
    assert given.count(True) == 7


def test_without_its_record_nothing_is_asked_for(tmp_path: Path) -> None:
    """A budget that cannot be counted is not taken for one that has room."""
    path = tmp_path / "spending.sqlite"
    path.write_bytes(b"no database, but long enough for a header" * 10)
    with pytest.raises(ClusterError, match=r"cannot be used .* no machine is asked for without it"):
        Spending(path)
