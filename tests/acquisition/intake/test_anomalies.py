"""Anomalies are all counted, told at a bearable rate, and cost no memory."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.intake import Anomaly, AnomalyKind, AnomalyLog, CombinedLog, StallWatch
from forebay.acquisition.sources.testing import ManualClock

GAP, LATE = AnomalyKind.COUNTER_GAP, AnomalyKind.COUNTER_LATE


@given(
    st.lists(
        st.sampled_from([GAP, LATE, AnomalyKind.CLOCK_JUMPED, "take"]) | st.floats(0.0, 1.5),
        max_size=80,
    )
)
def test_what_is_told_adds_up_to_what_happened(steps: list[AnomalyKind | str | float]) -> None:
    """Each is told for itself or counted in the next of its kind, whenever they are taken."""
    clock = ManualClock()
    log = AnomalyLog(clock, room=4)
    told: list[Anomaly] = []
    happened: dict[str, int] = {}
    for step in steps:
        if isinstance(step, AnomalyKind):
            happened[step] = happened.get(step, 0) + 1
            log.report(step, f"number {happened[step]}")
        elif isinstance(step, float):
            clock.advance(step)
        else:
            told += log.take()
    told += log.take(everything=True)
    assert log.counts() == happened
    for kind, count in happened.items():
        of_kind = [each for each in told if each.kind == kind]
        assert sum(1 + each.more for each in of_kind) == count
        assert of_kind[-1].text == f"number {count}"


def test_of_a_kind_one_a_second_is_told() -> None:
    """A thousand a second for ten seconds, of two kinds."""
    clock = ManualClock()
    log = AnomalyLog(clock)
    told: list[Anomaly] = []
    for number in range(10_000):
        log.report(GAP, f"gap {number}", number)
        log.report(LATE, f"late {number}", number)
        clock.advance(0.001)
        if number % 100 == 0:
            told += log.take()
    assert 20 <= len(told) <= 22
    assert log.counts() == {"counter gap": 10_000, "counter late": 10_000}
    assert len(log.take(everything=True)) <= 2


def test_a_log_that_nobody_takes_from_stays_small() -> None:
    """What finds no room is counted in the last of its kind."""
    clock = ManualClock()
    log = AnomalyLog(clock, room=8)
    for _ in range(1000):
        log.report(GAP, "gap")
        clock.advance(2.0)
    told = log.take(everything=True)
    assert len(told) == 9
    assert sum(1 + each.more for each in told) == 1000


def test_the_parts_of_a_combined_log_are_named() -> None:
    """And counted together, in the order in which things happened."""
    clock = ManualClock()
    left, right = AnomalyLog(clock), AnomalyLog(clock)
    right.report(GAP, "frame 3 did not come", 4)
    clock.advance(1.0)
    left.report(GAP, "frame 7 did not come", 8)
    log = CombinedLog([("left", left), ("right", right)])
    assert log.counts() == {"counter gap": 2}
    assert [each.text for each in log.take()] == [
        "right: frame 3 did not come",
        "left: frame 7 did not come",
    ]


def watch(patience: float = 5.0) -> tuple[StallWatch, AnomalyLog]:
    log = AnomalyLog(ManualClock())
    return StallWatch(log, patience=patience, began=100.0), log


def test_a_process_that_was_stopped_is_no_source_that_stalls() -> None:
    """Nobody looked meanwhile; from then on it is waited for as ever."""
    stall, log = watch()
    assert not stall.look(101.0, 101.5)
    assert not stall.look(101.0, 140.0)
    assert not stall.look(101.0, 144.5)
    assert stall.look(101.0, 145.5)
    assert [each.text for each in log.take()] == ["no frame has come for 5.5 s"]


def test_a_source_without_a_first_frame_stalls() -> None:
    """Counted from when it began."""
    stall, log = watch()
    assert not stall.look(None, 105.0)
    assert stall.look(None, 105.1)
    assert stall.stalled
    assert log.counts() == {"source stalled": 1}


def test_a_stall_is_told_once_and_so_is_its_end() -> None:
    """However often one looks."""
    stall, log = watch()
    for now in range(100, 120):
        assert stall.look(103.0, float(now)) == (now > 108)
    assert not stall.look(119.5, 120.0)
    assert not stall.look(119.5, 121.0)
    assert log.counts() == {"source stalled": 1, "source resumed": 1}
    assert log.take()[-1].text == "frames come again, after 16.5 s without"


def test_a_source_that_is_held_up_has_not_stalled() -> None:
    """The time begins when it is let go."""
    stall, log = watch()
    assert not stall.look(101.0, 150.0, held_up=True)
    assert not stall.look(101.0, 154.0)
    assert stall.look(101.0, 156.0)
    assert log.counts() == {"source stalled": 1}
