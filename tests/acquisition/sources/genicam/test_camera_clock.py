"""A camera's clock as UTC."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.sources.genicam.clock import MOST_SLEW, CameraClock

SECOND = 1_000_000_000
WALL = 1_700_000_000 * SECOND
TRANSFER = 2_000_000


def test_what_was_measured_is_added() -> None:
    """The delay of the frames does not matter then."""
    clock = CameraClock(offset=WALL)
    assert [clock.utc(camera, WALL + camera + TRANSFER) for camera in (5, 9)] == [
        WALL + 5,
        WALL + 9,
    ]


def test_else_the_first_frame_is_taken_to_have_come_at_once() -> None:
    clock = CameraClock(offset=None)
    assert clock.utc(SECOND, WALL) == WALL
    assert clock.utc(2 * SECOND, WALL + SECOND + TRANSFER) == WALL + SECOND


@pytest.mark.parametrize("drift", [-50e-6, 0.0, 50e-6])
@pytest.mark.parametrize("measured", [True, False])
def test_a_drift_is_followed(drift: float, measured: bool) -> None:
    """An hour at 50 µs a second, which unfollowed would be 180 ms, with frames held up at times."""
    clock = CameraClock(offset=WALL if measured else None)
    late = 0
    for frame in range(36_000):
        taken = frame * SECOND // 10
        camera = round(taken * (1 + drift))
        held_up = 0 if frame % 7 == 0 else frame * 7919 % 30_000_000
        late = clock.utc(camera, WALL + taken + TRANSFER + held_up) - (WALL + taken)
    assert abs(late) < 6_000_000


@given(delays=st.lists(st.integers(0, 10 * SECOND), min_size=2, max_size=50))
def test_the_time_between_frames_stays_true(delays: list[int]) -> None:
    """Whatever the delays, even if this machine's clock is set."""
    clock = CameraClock(offset=WALL)
    step = 40 * SECOND  # longer than a window, so that each frame may move the target
    times = [
        clock.utc(index * step, WALL + index * step + delay) for index, delay in enumerate(delays)
    ]
    for one, other in itertools.pairwise(times):
        assert abs(other - one - step) <= step * MOST_SLEW


def test_a_clock_that_begins_anew_is_measured_anew() -> None:
    """By the frame that shows it, for its time from before means nothing now."""
    clock = CameraClock(offset=WALL)
    clock.utc(100 * SECOND, WALL + 100 * SECOND + TRANSFER)
    assert clock.utc(SECOND, WALL + 130 * SECOND) == WALL + 130 * SECOND
    assert clock.utc(2 * SECOND, WALL + 132 * SECOND) == WALL + 131 * SECOND


def test_a_camera_without_a_clock_has_the_times_of_arrival() -> None:
    clock = CameraClock(offset=None)
    arrivals = [WALL, WALL + 7, WALL + 9]
    assert [clock.utc(0, arrived) for arrived in arrivals] == arrivals
