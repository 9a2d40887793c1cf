"""The view of an acquisition shows what an operator must see."""

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from forebay.acquisition import AcquisitionStatus
from forebay.cli.live import LiveStatus, live_view, status_line

CALM = AcquisitionStatus(
    run="/data/water",
    run_id="6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10",
    committed=12345,
    dropped=0,
    counted=12400,
    bytes=10**9,
    stored_bytes=10**9,
    received_bytes=10**9,
    received_per_second=100.0,
    seconds=125.0,
    frames_per_second=99.96,
    bytes_per_second=800 * 2**20,
    ring_depth=12,
    ring_highest=40,
    ring_slots=64,
    flow="normal",
    spilled_frames=0,
    disk_free_bytes=3 * 2**40,
    seconds_left=3932.0,
)


def status(**changes: Any) -> AcquisitionStatus:
    return AcquisitionStatus(**{
        **{name: getattr(CALM, name) for name in AcquisitionStatus.__slots__},
        **changes,
    })  # fmt: skip


def drawn(status: AcquisitionStatus, *, color: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=100,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    console.print(live_view(status))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_at_a_prompt_the_sum_is_shown() -> None:
    assert repr(CALM) == (
        "<AcquisitionStatus '/data/water': 12345 committed + 0 dropped + 55 on their way = 12400 "
        "counted, delivering, normal>"
    )
    assert "3 dropped = 12348 counted" in repr(status(dropped=3, counted=12348))


def test_the_view_shows_rates_sums_ring_and_room() -> None:
    text = drawn(CALM)
    for part in (
        "water, 2 min 5 s",
        "normal, source delivering",
        "12345 committed, 0 dropped of 12400 counted",
        "100.0 frames/s, 800 MiB/s",
        "12 of 64, at most 40 so far",
        "3 TiB free, full in 1 h 5 min",
    ):
        assert part in text
    for absent in ("spilled", "unusual", "warning", "latency"):
        assert absent not in text


def test_the_view_names_what_was_lost_and_what_was_unusual() -> None:
    text = drawn(
        status(
            dropped=9,
            dropped_by_reason={"ring full": 2, "not delivered": 7},
            anomalies={f"kind {number}": number for number in range(1, 7)},
            spilled_frames=31,
            flow="spilling",
            source_state="stalled",
            latency_seconds={"median": 0.004, "p99": 0.02, "p999": 0.3, "max": 1.5},
            warnings=("the disk lasts for 9 min at this rate",),
            disk_free_bytes=None,
        )
    )
    for part in (
        "9 dropped",
        "7 × not delivered, 2 × ring full",
        "6 × kind 6, 5 × kind 5, 4 × kind 4, 3 × kind 3, 3 others",
        "31 frames wait on the second path",
        "median 4 ms, p99 20 ms, max 1.5 s",
        "spilling, source stalled",
        "the disk lasts for 9 min",
        "not known",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("flow", "code"),
    [("normal", "32"), ("holding", "33"), ("dropping", "1;31"), ("waiting for space", "1;31")],
)
def test_the_worse_the_state_the_louder_its_colour(flow: str, code: str) -> None:
    assert f"\x1b[{code}m{flow}" in drawn(status(flow=flow), color=True)


def test_the_view_of_a_ring_without_slots_or_with_names_like_markup_is_drawn() -> None:
    text = drawn(status(ring_slots=0, ring_depth=0, run="/data/[red]x", warnings=("[/bold]",)))
    assert "[red]x" in text
    assert "[/bold]" in text


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now

    def wait_until(self, deadline: float, cancelled: threading.Event) -> bool:
        raise NotImplementedError


def test_elsewhere_than_on_a_terminal_there_is_a_line_a_minute() -> None:
    clock, file = Hands(), io.StringIO()
    with LiveStatus(Console(file=file, width=40), clock=clock) as live:
        for _ in range(300):
            live.show(CALM)
            clock.now += 0.5
    assert file.getvalue().splitlines() == [status_line(CALM)] * 2
    assert status_line(CALM) == (
        "water: 12345 frames committed, 0 dropped of 12400; 100.0 frames/s, 800 MiB/s; "
        "ring 12 of 64; normal; source delivering; disk 3 TiB free, full in 1 h 5 min"
    )


def test_on_a_terminal_the_view_is_drawn_some_times_a_second_and_taken_away_again() -> None:
    clock, file = Hands(), io.StringIO()
    before = threading.active_count()
    with LiveStatus(Console(file=file, width=80, force_terminal=True), clock=clock) as live:
        for committed in range(1000):
            live.show(status(committed=committed))
            clock.now += 0.01
        assert 40 <= file.getvalue().count("committed") <= 60
        assert threading.active_count() == before
    end_of_the_view = file.getvalue().rpartition("committed")[2]
    assert "\x1b[2K" in end_of_the_view, "its lines are erased"
