"""Frames that do not fit are refused and named; the camera's clock is watched."""

from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Frame, FrameFlag, Geometry
from forebay.acquisition.errors import FrameError
from forebay.acquisition.intake import Intake, Refused
from forebay.acquisition.intake.intake import MOST_UNFIT
from forebay.acquisition.sources.testing import ManualClock

GEOMETRY = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
GOOD = np.zeros((2, 3), "uint16")
SECOND = 1_000_000_000
BEGAN = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    "pixels", [np.zeros((3, 2), "uint16"), np.zeros((2, 3), "int16"), np.zeros(6, "uint16"), [[0]]]
)
def test_a_frame_of_another_geometry_in_the_middle_is_refused(pixels: Any) -> None:
    """Its counter, the time and the reason are there to be written down."""
    clock = ManualClock(wall=BEGAN)
    intake = Intake(GEOMETRY, clock=clock)
    intake.receive(Frame(7, 1, GOOD))
    clock.advance(2)
    refused = intake.receive(Frame(8, 2, pixels))
    assert isinstance(refused, Refused)
    assert (refused.counter, refused.at) == (8, BEGAN + 2 * SECOND)
    assert "the run has (2, 3) and uint16" in refused.reason
    assert isinstance(intake.receive(Frame(9, 3, GOOD)), Frame)
    assert intake.anomalies.counts() == {"geometry changed": 1}


def test_a_source_that_was_set_otherwise_is_ended() -> None:
    """Ten frames are refused one by one, and a further one is an error that counts nothing."""
    intake = Intake(GEOMETRY, clock=ManualClock())
    intake.receive(Frame(0, 0, GOOD))
    wrong = np.zeros((4, 4), "uint16")
    for counter in range(1, MOST_UNFIT + 1):
        assert isinstance(intake.receive(Frame(counter, counter, wrong)), Refused)
    with pytest.raises(FrameError, match="11 frames in a row do not fit, the last, 11, has"):
        intake.receive(Frame(11, 11, wrong))
    assert (intake.taken, intake.refused, intake.missing) == (1, 10, 0)


def test_a_good_frame_between_them_begins_the_count_anew() -> None:
    """Wrong ones now and then are refused for ever."""
    intake = Intake(GEOMETRY, clock=ManualClock())
    for counter in range(100):
        pixels = np.zeros((1, 1), "uint16") if counter % MOST_UNFIT else GOOD
        intake.receive(Frame(counter, counter, pixels))
    assert (intake.taken, intake.refused) == (10, 90)


@pytest.mark.parametrize(
    ("time", "flags", "said"),
    [
        (2**63, 0, "its time is no whole number of 64 bits, but 9223372036854775808"),
        (-(2**63) - 1, 0, "of 64 bits, but -9223372036854775809"),
        (1.5, 0, "its time is no whole number of 64 bits, but 1.5"),
        (None, 0, "no whole number of 64 bits, but None"),
        (5, 2**32, "its flags are no whole number of 32 bits, but 4294967296"),
        (5, -1, "of 32 bits, but -1"),
        (5, "dark", "its flags are no whole number of 32 bits, but 'dark'"),
    ],
)
def test_numbers_that_a_run_cannot_hold_are_refused(time: Any, flags: Any, said: str) -> None:
    """What they were is told; the next frame is taken."""
    intake = Intake(GEOMETRY, clock=ManualClock())
    refused = intake.receive(Frame(1, time, GOOD, flags))
    assert isinstance(refused, Refused)
    (anomaly,) = intake.anomalies.take()
    assert said in anomaly.text
    assert refused.reason in anomaly.text
    assert isinstance(intake.receive(Frame(2, 5, GOOD)), Frame)
    assert intake.anomalies.counts() == {"field invalid": 1}


def test_there_are_not_as_many_reasons_as_frames() -> None:
    """Frames are counted by the reason, for weeks."""
    intake = Intake(GEOMETRY, clock=ManualClock())
    refused = [intake.receive(Frame(each, 2**63 + each, GOOD)) for each in range(100)]
    refused += [intake.receive(Frame(each, 0, GOOD, -each)) for each in range(100, 200)]  # type: ignore[arg-type]
    assert all(isinstance(each, Refused) for each in refused)
    assert len({each.reason for each in refused if isinstance(each, Refused)}) == 2


def flags_at(
    times: list[tuple[float, float]], tolerance: float | None = None
) -> tuple[list[FrameFlag], dict[str, int]]:
    """Return the flags of frames by their times at the camera and here, in seconds."""
    clock = ManualClock()
    intake = Intake(GEOMETRY, clock=clock, tolerance=tolerance)
    flags: list[FrameFlag] = []
    for counter, (there, here) in enumerate(times):
        clock.advance(here - clock.monotonic())
        outcome = intake.receive(
            Frame(counter, BEGAN + round(there * SECOND), GOOD, FrameFlag.SATURATED)
        )
        assert isinstance(outcome, Frame)
        assert outcome.timestamp == BEGAN + round(there * SECOND)
        assert outcome.flags & FrameFlag.SATURATED
        flags.append(outcome.flags & FrameFlag.CLOCK_JUMPED)
    return flags, dict(intake.anomalies.counts())


@pytest.mark.parametrize(("by", "named"), [(3.0, {}), (-3.0, {"time went back": 1})])
def test_a_jump_of_the_cameras_clock_is_flagged_once(by: float, named: dict[str, int]) -> None:
    """On the frame behind it; the timestamps are kept as they came."""
    times = [(each / 10 + (by if each >= 50 else 0), each / 10) for each in range(100)]
    flags, counts = flags_at(times)
    assert [place for place, flag in enumerate(flags) if flag] == [50]
    assert counts == {"clock jumped": 1, **named}


def test_a_clock_set_right_again_has_jumped_twice() -> None:
    """There and back."""
    times = [(each + (9 if 50 <= each < 55 else 0), each) for each in range(100)]
    flags, counts = flags_at([(there / 10, here / 10) for there, here in times], tolerance=0.5)
    assert [place for place, flag in enumerate(flags) if flag] == [50, 55]
    assert counts["clock jumped"] == 2


@pytest.mark.parametrize("stood_still", [30.0, 100.0])
def test_frames_that_come_late_are_no_jump(stood_still: float) -> None:
    """This machine stood still; what was under way comes all at once, the rest was lost."""
    before = [(each / 10, each / 10) for each in range(50)]
    under_way = [(each / 10, 5.0 + stood_still) for each in range(50, 60)]
    after = [(5.1 + stood_still + each / 10,) * 2 for each in range(50)]
    flags, counts = flags_at([*before, *under_way, *after])
    assert not any(flags)
    assert counts == {}


def test_first_frames_that_had_waited_are_no_jump() -> None:
    """As of a program that sends before anybody records; later, the clock can jump as ever."""
    waited = [(each / 10, 3600.0) for each in range(16)]
    fresh = [(3600.1 + each / 10,) * 2 for each in range(50)]
    flags, counts = flags_at([*waited, *fresh, (3610.0, 3605.2)])
    assert [place for place, flag in enumerate(flags) if flag] == [66]
    assert counts == {"clock jumped": 1}


def test_first_frames_that_had_waited_are_no_jump_after_a_pause() -> None:
    """They came all at once, and who sent them has begun again some seconds later."""
    had_waited = [(each / 10, 5.0) for each in range(20)]
    fresh = [(7.3 + each / 10, 7.3 + each / 10) for each in range(20)]
    flags, counts = flags_at(had_waited + fresh)
    assert not any(flags)
    assert counts == {}


def test_frames_that_come_late_for_a_while_are_no_jump() -> None:
    """At any time; here at the end of a minute."""
    before = [(float(each),) * 2 for each in range(58)]
    late = [(57 + each / 10, 57.0 + each) for each in range(1, 6)]
    after = [(float(each),) * 2 for each in range(63, 80)]
    flags, counts = flags_at([*before, *late, *after])
    assert not any(flags)
    assert counts == {}


@pytest.mark.parametrize("drift", [1e-3, -1e-3])
def test_a_clock_that_goes_wrong_slowly_does_not_jump(drift: float) -> None:
    """Nor does it hide a jump at the end of the day."""
    seconds = 20_000
    times = [(each * (1 + drift), float(each)) for each in range(seconds)]
    there, here = times[-1]
    flags, _ = flags_at([*times, (there + 3.5, here + 1)])
    assert [place for place, flag in enumerate(flags) if flag] == [seconds]


def test_a_small_step_back_is_named_and_is_no_jump() -> None:
    """By less than the tolerance."""
    flags, counts = flags_at([(0.0, 0.0), (0.5, 0.5), (0.4, 0.6), (0.6, 0.7)])
    assert not any(flags)
    assert counts == {"time went back": 1}


def test_the_time_of_the_last_frame_is_known() -> None:
    """On the monotonic clock, whatever the frame was like."""
    clock = ManualClock()
    intake = Intake(GEOMETRY, clock=clock)
    assert intake.last is None
    clock.advance(4.0)
    intake.receive(Frame(-1, 0, GOOD))
    assert intake.last == 4.0
