"""Frames are numbered once each, whatever the camera's counter does."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition import Frame, Geometry
from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import AnomalyKind, Intake, Refused
from forebay.acquisition.sources.testing import ManualClock

GEOMETRY = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
GOOD = np.zeros((2, 3), "uint16")
BAD = np.zeros((2, 4), "uint16")
GAP_LATE_REPEATED = ("counter gap", "counter late", "counter repeated")


def numbers(
    counters: Sequence[int], *, times: Sequence[int] | None = None, intake: Intake | None = None
) -> list[int | None]:
    """Return the number that each frame gets; None for one that is left out."""
    intake = intake or Intake(GEOMETRY, clock=ManualClock(), tolerance=np.inf)
    found: list[int | None] = []
    for counter, time in zip(counters, times or range(len(counters)), strict=True):
        outcome = intake.receive(Frame(counter, time, GOOD))
        found.append(None if outcome is None else outcome.counter)
    return found


def counted(
    counters: Sequence[int], **options: int | bool | None
) -> tuple[list[int | None], Intake]:
    intake = Intake(GEOMETRY, clock=ManualClock(), tolerance=np.inf, **options)  # type: ignore[arg-type]
    return numbers(counters, intake=intake), intake


anywhere = st.integers(0, 2**64 - 1) | st.integers(0, 70_000) | st.integers(0, 9)
bits = st.sampled_from([None, 16, 32, 64])


@given(
    st.lists(st.tuples(anywhere, st.integers(-5, 5), st.booleans()), max_size=40),
    bits,
    st.booleans(),
    st.none() | st.integers(0, 70_000),
)
def test_every_counted_exposure_is_taken_or_refused_or_missing(
    delivered: list[tuple[int, int, bool]],
    counter_bits: int | None,
    skips_zero: bool,
    following: int | None,
) -> None:
    """For any counters and any times, with every eighth frame unfit: the sums close."""
    intake = Intake(
        GEOMETRY,
        clock=ManualClock(),
        counter_bits=counter_bits,
        skips_zero=skips_zero,
        following=following,
    )
    taken: list[int] = []
    refused: list[int] = []
    for place, (counter, time, good) in enumerate(delivered):
        pixels = GOOD if good or place % 8 else BAD
        outcome = intake.receive(Frame(counter, time, pixels))
        match outcome:
            case Frame():
                assert outcome.data is pixels
                assert outcome.timestamp == time
                taken.append(outcome.counter)
            case Refused():
                refused.append(outcome.counter)
    assert all(before < after for before, after in pairwise(taken))
    seen = {*taken, *refused}
    assert len(seen) == len(taken) + len(refused)
    assert all(0 <= number < 2**64 for number in seen)
    assert (intake.taken, intake.refused) == (len(taken), len(refused))
    assert intake.left_out == len(delivered) - len(seen)
    if seen:
        first = min(seen) if following is None else following
        assert intake.missing == max(seen) - first + 1 - len(seen)


@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(1, 3)), max_size=300),
    st.integers(1, 2**17) | st.integers(2**32 - 2_000, 2**32),
    st.sampled_from([(16, True), (16, False), (None, True), (None, False), (32, False)]),
)
def test_numbers_follow_a_camera_through_its_wraps(
    steps: list[tuple[int, int]], start: int, kind: tuple[int | None, bool]
) -> None:
    """A camera that loses frames and repeats some: the differences are those of its exposures."""
    counter_bits, skips_zero = kind
    values = 1 << (counter_bits or (16 if start < 2**18 else 32))

    def shown(exposure: int) -> int:
        return exposure % (values - 1) + 1 if skips_zero else exposure % values

    exposures, counters = [start], [shown(start)]
    for step, times in steps:
        exposures += [exposures[-1] + step] * times
        counters += [shown(exposures[-1])] * times
    # A frame that is sent again has the time that it had.
    found, intake = numbers_of(counters, exposures, counter_bits, skips_zero)
    expected: list[int | None] = []
    for exposure in exposures:
        number = counters[0] + exposure - start
        expected.append(None if number in expected else number)
    assert found == expected
    assert intake.restarts == 0


def numbers_of(
    counters: Sequence[int], times: Sequence[int], counter_bits: int | None, skips_zero: bool
) -> tuple[list[int | None], Intake]:
    intake = Intake(
        GEOMETRY,
        clock=ManualClock(),
        counter_bits=counter_bits,
        skips_zero=skips_zero,
        tolerance=np.inf,
    )
    return numbers(counters, times=times, intake=intake), intake


@given(st.permutations(range(20)), st.sampled_from([0, 7, 65_530]))
def test_frames_out_of_order_are_left_out_and_harm_nothing(order: list[int], start: int) -> None:
    """What is taken is what was ahead of everything before it, across a wrap, too."""
    exposures = [start, *(start + 1 + place for place in order), start + 21]
    found, intake = numbers_of([each % 65_536 for each in exposures], exposures, 16, False)
    highest = -1
    for exposure, number in zip(exposures, found, strict=True):
        assert number == (exposure if exposure > highest else None)
        highest = max(highest, exposure)
    assert intake.taken + intake.missing == 22
    assert intake.restarts == 0


@pytest.mark.parametrize(
    ("counters", "expected", "named"),
    [
        ([5, 6, 7], [5, 6, 7], {}),
        ([5, 9, 10], [5, 9, 10], {"counter gap": 1}),
        ([5, 6, 6, 7], [5, 6, None, 7], {"counter repeated": 1}),
        ([5, 7, 6, 8], [5, 7, None, 8], {"counter gap": 1, "counter late": 1}),
        ([5, 7, 6, 6], [5, 7, None, None], dict.fromkeys(GAP_LATE_REPEATED, 1)),
        ([5, 4, 6], [5, None, 6], {"counter late": 1}),
        ([65535, 0, 1], [65535, 65536, 65537], {"counter wrapped": 1}),
        ([2**32 - 1, 0], [2**32 - 1, 2**32], {"counter wrapped": 1}),
        ([65535, 0, 65535], [65535, 65536, None], {"counter wrapped": 1, "counter repeated": 1}),
        ([40_000, 0, 1], [40_000, 40_001, 40_002], {"counter restarted": 1}),
        ([2**40, 7, 8], [2**40, 2**40 + 1, 2**40 + 2], {"counter restarted": 1}),
        (
            [0, 2**64 - 2, 2**64 - 1, 0],
            [0, 2**64 - 2, 2**64 - 1, None],
            {"counter gap": 1, "counter invalid": 1},
        ),
        # All ones are what programs write where there is no counter.
        ([101, 2**64 - 1, 102, 103], [101, None, 102, 103], {"counter invalid": 1}),
        ([3, -1, 2**64, 4], [3, None, None, 4], {"counter invalid": 2}),
        ([3, None, "4", 4], [3, None, None, 4], {"counter invalid": 2}),
        ([np.uint16(65535), np.uint16(0)], [65535, 65536], {"counter wrapped": 1}),
    ],
)
def test_each_thing_that_a_counter_does_is_named(
    counters: list[Any], expected: list[int | None], named: dict[str, int]
) -> None:
    """One row for each of them."""
    found, intake = counted(counters)
    assert found == expected
    assert intake.anomalies.counts() == named


def test_the_numbers_are_plain_whole_numbers() -> None:
    """Also where the source counts in NumPy's, which would overflow."""
    intake = Intake(GEOMETRY, clock=ManualClock())
    for counter, time in [(np.uint8(200), 5), (201, np.int64(6))]:
        outcome = intake.receive(Frame(counter, time, GOOD))  # type: ignore[arg-type]
        assert isinstance(outcome, Frame)
        assert type(outcome.counter) is type(outcome.timestamp) is int


def test_a_frame_as_it_should_be_goes_through_as_it_is() -> None:
    """No copy is made of it."""
    frame = Frame(5, 10, GOOD)
    assert Intake(GEOMETRY, clock=ManualClock()).receive(frame) is frame


def test_a_camera_that_begins_anew_soon_after_its_start_is_recognised() -> None:
    """At the third frame in a row that was there before and yet is new; the sums close."""
    found, intake = counted([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5])
    assert found == [0, 1, 2, 3, 4, None, None, 7, 8, 9, 10]
    assert (intake.restarts, intake.missing, intake.left_out) == (1, 2, 2)
    texts = {each.kind: each.text for each in intake.anomalies.take(everything=True)}
    assert "how many were lost is unknown" in texts[AnomalyKind.COUNTER_RESTARTED]


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        # A late frame, or a new one, between those that come again: they are no row.
        ([0, 1, 2, 3, 5, 6, 2, 3, 4, 5, 6], [0, 1, 2, 3, 5, 6, None, None, None, None, None]),
        ([0, 1, 2, 3, 4, 2, 3, 5, 4, 6], [0, 1, 2, 3, 4, None, None, 5, None, 6]),
        # Numbers of before a new start do not count for the frames behind it.
        ([1000, 1002, 1004, 10, 7, 8, 9], [1000, 1002, 1004, 1005, None, None, 1008]),
    ],
)
def test_only_a_row_of_frames_that_were_there_is_a_new_start(
    counters: list[int], expected: list[int | None]
) -> None:
    """One row for each thing that interrupts it."""
    assert counted(counters)[0] == expected


def test_what_was_before_a_new_start_has_not_come_again() -> None:
    """The camera's frame 9 came late, though another one had its number's place before."""
    found, intake = counted([1000, 1001, 1002, 10, 9])
    assert found == [1000, 1001, 1002, 1003, None]
    assert intake.anomalies.counts() == {"counter restarted": 1, "counter late": 1}


def test_frames_that_are_sent_again_are_no_new_start() -> None:
    """They have the times that they had."""
    counters = [0, 1, 2, 3, 4, 1, 2, 3, 4, 5]
    intake = Intake(GEOMETRY, clock=ManualClock())
    found = numbers(counters, times=counters, intake=intake)
    assert found == [0, 1, 2, 3, 4, None, None, None, None, 5]
    assert intake.restarts == 0


def test_a_declared_width_refuses_what_is_wider() -> None:
    """Such a frame has no number; the one it should have had is missing."""
    found, intake = counted([65_534, 65_536, 0], counter_bits=16)
    assert found == [65_534, None, 65_536]
    assert intake.missing == 1
    assert "65536, which must be from 0 to 2^16 - 1" in intake.anomalies.take()[0].text


def test_a_wrap_that_was_none_is_forgotten() -> None:
    """A 32-bit counter that began anew close to 2^16 goes on beyond it."""
    found, _ = counted([65_500, 3, 65_538, 65_539])
    assert found == [65_500, 65_539, 131_074, 131_075]


def test_where_zero_is_skipped_no_frame_is_missed() -> None:
    """As with the block numbers of GigE Vision."""
    for declared in (16, None):
        found, intake = counted([65_535, 1], counter_bits=declared, skips_zero=True)
        assert found == [65_535, 65_536]
        assert intake.missing == 0


@pytest.mark.parametrize(
    ("counter", "number", "missing", "restarts"),
    [(100, 100, 0, 0), (103, 103, 3, 0), (2, 100, 0, 1)],
)
def test_a_run_taken_up_again_goes_on_behind_its_last_number(
    counter: int, number: int, missing: int, restarts: int
) -> None:
    """A camera that counted on in between has lost frames; one that begins anew is numbered on."""
    found, intake = counted([counter, counter + 1], following=100)
    assert found == [number, number + 1]
    assert (intake.missing, intake.restarts) == (missing, restarts)
    texts = [each.text for each in intake.anomalies.take(everything=True)]
    told = "counts anew: 2 came first, below what the run has; its frames are numbered on from 100"
    assert any(told in text for text in texts) == bool(restarts)


@pytest.mark.parametrize("width", [0, 7, 65])
def test_a_counter_of_no_possible_width_is_refused(width: int) -> None:
    """When the intake is made."""
    with pytest.raises(SourceError, match="declare 8 to 64"):
        Intake(GEOMETRY, clock=ManualClock(), counter_bits=width)


def test_a_camera_may_count_up_to_the_end() -> None:
    last = 2**64 - 1
    assert counted([last - 2, last - 1, last])[0] == [last - 2, last - 1, last]
