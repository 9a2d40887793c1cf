"""Decisions are events: written down with their figures, bounded, and gone through again."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.cluster.allocation import Share, divide
from forebay.cluster.burst.rule import BurstRules, Situation, Standing, decide
from forebay.cluster.decisions import DecisionLog, decisions_path, read_decisions
from forebay.cluster.division_log import DivisionLog

RULES = BurstRules(most_wait_seconds=600, calm_wait_seconds=60, looks=2, maximum_workers=8)
LATE = Situation(
    now=1000.0,
    backlog_seconds=7200.0,
    backlog_bytes=10**9,
    units=72,
    threads_here=2,
    deadline_in=3000.0,
    price=1.0,
)


def test_a_burst_is_decided_again_from_what_was_written(tmp_path: Path) -> None:
    """The rule says the same to the same figures, and something else with other bounds."""
    path = tmp_path / "clusters" / "cloud" / "decisions.jsonl"
    log, standing, said = DecisionLog(path), Standing(), []
    for backlog in (7200.0, 7200.0, 7199.0, 100.0):
        situation = replace(LATE, backlog_seconds=backlog)
        decision = decide(situation, RULES, standing)
        log.take_burst("cloud", decision, situation, standing)
        standing = decision.standing
        said.append(decision)
    found = list(read_decisions(path))
    # Seen once, asked for, as many as help, short: each for another reason.
    assert [each.workers for each in found] == [each.workers for each in said]
    assert [each.again(RULES) for each in found] == said
    assert found[1].change == 4
    assert found[1].figures["deadline_in"] == 3000.0
    dear = found[1].again(replace(RULES, price_ceiling=0.5))
    assert dear is not None
    assert "above the ceiling" in dear.reason
    other = found[1].model_copy(update={"situation": {"now": 0.0, "moon": "full"}})
    assert other.again(RULES) is None


def test_what_is_no_news_is_not_written_again(tmp_path: Path) -> None:
    """Waits and times differ at every look."""
    log = DecisionLog(tmp_path / "decisions.jsonl")
    for wait in range(40, 100):
        situation = replace(LATE, backlog_seconds=float(wait), deadline_in=None)
        decision = decide(situation, RULES, Standing())
        log.take_burst("cloud", decision, situation, Standing())
    assert len(list(read_decisions(log.path))) == 1


def test_the_file_is_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl", most_bytes=2000)
    for number in range(100):
        log.take("size", "gpu", workers=number, reason="more work", figures={"units": number})
    assert sum(each.stat().st_size for each in tmp_path.glob("decisions*.jsonl")) <= 4000
    workers = [each.workers for each in read_decisions(log.path)]
    assert workers == list(range(100 - len(workers), 100))
    assert len(workers) > 10


def test_a_line_that_a_killed_process_has_left_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And what comes after it is whole."""
    log = DecisionLog(tmp_path / "decisions.jsonl")
    log.take("size", "gpu", workers=1, reason="more work", figures={})
    with log.path.open("a") as file:
        file.write('{"at": 17.0, "eve')
    log.take("size", "gpu", workers=2, reason="more work", figures={})
    assert [each.workers for each in read_decisions(log.path)] == [1, 2]
    assert "line 2 of" in caplog.text


def _write(path: Path, start: int) -> None:
    log = DecisionLog(path, most_bytes=100_000)
    for number in range(start, start + 50):
        log.take("size", "gpu", workers=number, reason="more work", figures={})


def test_two_processes_write_whole_lines(tmp_path: Path) -> None:
    """The keeper of a cluster and a service that uses it."""
    path = tmp_path / "decisions.jsonl"
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_write, args=(path, start)) for start in (0, 50)]
    for each in both:
        each.start()
    for each in both:
        each.join(30)
    assert {each.workers for each in read_decisions(path)} == set(range(100))


def test_lanes_that_borrow_are_written_down_when_that_changes(tmp_path: Path) -> None:
    """With how much room there is, whose it is and who has it."""
    now = 0.0
    decisions = DecisionLog(decisions_path(tmp_path, "gpu"))
    log = DivisionLog(decisions, "gpu", clock=lambda: now)
    shares = {"realtime": Share(0.5, lent=0.5), "reprocess": Share(0.5)}
    for used, wanting in (
        ({}, {"reprocess"}),
        ({"reprocess": 5}, {"reprocess"}),
        ({"reprocess": 6}, {"realtime", "reprocess"}),
        ({"realtime": 4, "reprocess": 4}, {"realtime", "reprocess"}),
    ):
        log.take(8, shares, used, wanting, divide(8, shares, used, wanting))
        now += 2.0
    found = list(read_decisions(decisions.path))
    assert [each.reason for each in found] == [
        "more work has reprocess; reprocess borrows 2, of room for 8",
        "more work has realtime, reprocess; reprocess borrows 2, of room for 8",
        "more work has realtime, reprocess; nothing is borrowed, of room for 8",
    ]
    assert found[1].figures["promised"] == {"realtime": 4, "reprocess": 4}
    assert found[1].figures["more"] == {"realtime": 2, "reprocess": 0}
