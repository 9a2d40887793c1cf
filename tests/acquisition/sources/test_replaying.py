"""A recording replayed: its pace, its rounds, its cache and its end."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from forebay.acquisition import Geometry, ImageMetadata, acquire, open_run
from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources import ReplaySource, Scene, SimulatedSource
from forebay.acquisition.sources.testing import ManualClock

WATER = Path(__file__).parents[3] / "examples" / "data" / "bulk_water"


class Recording:
    """A reader of frames in memory that counts how often each is decoded."""

    def __init__(self, frames: list[npt.NDArray[Any]], metadata: ImageMetadata) -> None:
        self.frames = frames
        self.geometry = Geometry(("y", "x"), frames[0].shape, frames[0].dtype)
        self.metadata = metadata
        self.decoded: list[int] = []
        self.closed = 0

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> npt.NDArray[Any]:
        self.decoded.append(index)
        return self.frames[index].copy()

    def name(self, index: int) -> str:
        return f"frame {index} of memory"

    def close(self) -> None:
        self.closed += 1


def numbered(count: int = 5, metadata: ImageMetadata | None = None) -> Recording:
    """Make frames of 12 bytes that hold their own number."""
    frames = [np.full((3, 4), n, np.uint8) for n in range(count)]
    return Recording(frames, metadata or ImageMetadata())


def shown(source: ReplaySource) -> list[int]:
    with source:
        return [int(frame.data[0, 0]) for frame in source.frames()]


def test_a_recording_is_replayed_once() -> None:
    """All its frames, in order, with the counters 0, 1, 2, …"""
    recording = numbered(5)
    with ReplaySource(recording) as source:
        frames = list(source.frames())
    assert [frame.counter for frame in frames] == [0, 1, 2, 3, 4]
    assert [int(frame.data[0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
    assert recording.decoded == [0, 1, 2, 3, 4]
    assert source.can_wait
    assert recording.closed == 1


@pytest.mark.parametrize("frames", [1, 4, 5, 6, 13])
def test_frames_says_how_many_come(frames: int) -> None:
    """Fewer than there are, or more: then it begins anew, with counters that go on."""
    recording = numbered(5)
    assert shown(ReplaySource(recording, frames=frames)) == [n % 5 for n in range(frames)]


def test_frames_that_fit_the_cache_are_decoded_once() -> None:
    """Of 5 frames with room for 3, the first 3 are kept, the others decoded each round."""
    recording = numbered(5)
    assert shown(ReplaySource(recording, frames=15, cache_bytes=3 * 12)) == [0, 1, 2, 3, 4] * 3
    assert recording.decoded == [0, 1, 2, 3, 4, 3, 4, 3, 4]


def test_nothing_is_kept_that_is_not_needed_again() -> None:
    """Once through without a rate keeps no frame."""
    source = ReplaySource(numbered(5))
    shown(source)
    assert source._to_cache == 0


def test_a_frame_cannot_be_changed_by_who_gets_it() -> None:
    """Else the next round would show the change."""
    with ReplaySource(numbered(2), frames=4) as source:
        for frame in source.frames():
            with pytest.raises(ValueError, match="read-only"):
                frame.data[0, 0] = 99


def test_with_a_rate_each_frame_is_due_at_its_time() -> None:
    """Frame k is due at the start + k/rate; timestamps are the wall times of that."""
    clock = ManualClock(wall=10**18)
    with ReplaySource(numbered(3), rate=30.0, frames=1000, clock=clock) as source:
        frames = list(source.frames())
    assert not source.can_wait
    assert clock.waits == [k / 30.0 for k in range(1000)]
    assert [f.timestamp for f in frames] == [10**18 + round(k * 1e9 / 30) for k in range(1000)]
    assert clock.monotonic() == pytest.approx(999 / 30)


def test_late_frames_come_at_once_and_no_delay_is_carried_on() -> None:
    """A consumer that takes 1 s gets the missed frames at once; later ones are on time."""
    clock = ManualClock()
    times = []
    with ReplaySource(numbered(3), rate=10.0, frames=20, clock=clock) as source:
        for frame in source.frames():
            times.append(clock.monotonic())
            if frame.counter == 3:
                clock.advance(1.0)
    expected = [k / 10 if k <= 3 else max(1.3, k / 10) for k in range(20)]
    assert times == pytest.approx(expected)


def test_timestamps_of_late_frames_are_when_they_were_due() -> None:
    """They are evenly spaced whatever the consumer does."""
    clock = ManualClock(wall=0)
    stamps = []
    with ReplaySource(numbered(3), rate=10.0, frames=9, clock=clock) as source:
        for frame in source.frames():
            stamps.append(frame.timestamp)
            clock.advance(0.37)
    assert stamps == [k * 100_000_000 for k in range(9)]


@pytest.mark.parametrize("rate", [None, 1e9])
def test_timestamps_grow_though_the_clock_stands_still(rate: float | None) -> None:
    """Frames that come within a nanosecond still have an order."""
    clock = ManualClock(wall=500)
    with ReplaySource(numbered(3), rate=rate, frames=9, clock=clock) as source:
        stamps = [frame.timestamp for frame in source.frames()]
    assert stamps == list(range(500, 509))


def test_with_a_rate_the_cache_is_filled_before_the_first_frame() -> None:
    """So that decoding does not make the first round late."""
    recording = numbered(5)
    with ReplaySource(recording, rate=100.0, frames=7, clock=ManualClock()) as source:
        next(source.frames())
        assert recording.decoded == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rate", [None, 50.0])
def test_another_shape_midway_ends_it_behind_the_frames_before(rate: float | None) -> None:
    """The error names the frame, what it is and what was expected, and what to do."""
    recording = numbered(5)
    recording.frames[3] = np.zeros((4, 3), np.uint8)
    came: list[int] = []
    source = ReplaySource(recording, rate=rate, frames=99, clock=ManualClock())
    with source, pytest.raises(SourceError) as caught:
        came.extend(frame.counter for frame in source.frames())
    assert came == [0, 1, 2]
    assert str(caught.value) == (
        "frame 3 of memory is 4 × 3 uint8, but the recording began with 3 × 4 uint8; convert it, "
        "or replay the frames from it on as a recording of their own"
    )


def test_another_dtype_midway_is_an_error() -> None:
    """Same shape, other pixels."""
    recording = numbered(2)
    recording.frames[1] = recording.frames[1].astype(np.uint16)
    with pytest.raises(
        SourceError, match=r"is 3 × 4 uint16, but the recording began with .* uint8"
    ):
        shown(ReplaySource(recording))


def test_a_png_of_another_size_is_named(tmp_path: Path) -> None:
    """The path of the file is in the message."""
    for name, shape in (("a1.png", (6, 8)), ("a2.png", (6, 8)), ("a3.png", (6, 9))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / name)
    with pytest.raises(SourceError, match=r"frame 2 \(.*/a3.png\) is 6 × 9 uint8, but"):
        shown(ReplaySource(tmp_path))


def test_stop_ends_it() -> None:
    """After the frame that it is at; and before the first."""
    with ReplaySource(numbered(3), frames=10**9) as source:
        frames = source.frames()
        taken = [frame.counter for frame in itertools.islice(frames, 4)]
        source.stop()
        assert (taken, list(frames)) == ([0, 1, 2, 3], [])


def test_stop_ends_the_wait_for_a_frame() -> None:
    """A wait that is cancelled delivers nothing more."""

    class Interrupted(ManualClock):
        before_wait: Callable[[], None] | None = None

        def wait_until(self, deadline: float, cancelled: threading.Event) -> bool:
            if self.before_wait is not None:
                self.before_wait()
            return super().wait_until(deadline, cancelled)

    clock = Interrupted()
    with ReplaySource(numbered(3), rate=0.001, frames=5, clock=clock) as source:
        frames = source.frames()
        next(frames)
        clock.before_wait = source.stop
        assert list(frames) == []


def test_frames_are_delivered_once() -> None:
    """A second call, and one after closing, say to open the source anew."""
    source = ReplaySource(numbered(3))
    list(source.frames())
    with pytest.raises(SourceError, match="has delivered its frames already; open it anew"):
        source.frames()
    source.close()
    with pytest.raises(SourceError, match="the source is closed; open it anew"):
        source.frames()


def test_the_metadata_are_those_of_the_recording_the_rate_and_the_user() -> None:
    """The user says the most, then the rate, then the recording, whose own rate is kept."""
    found = ImageMetadata(pixel_size=(0.3, 0.3), frame_rate=24.0, exposure=0.01, channels=("GFP",))
    with ReplaySource(numbered(metadata=found)) as plain:
        assert plain.metadata == found
    given = ImageMetadata(exposure=0.02, instrument={"a": 1})
    with ReplaySource(numbered(metadata=found), rate=100.0, metadata=given) as source:
        metadata = source.metadata
    assert (metadata.pixel_size, metadata.exposure, metadata.frame_rate) == ((0.3, 0.3), 0.02, 100)
    assert metadata.channels == ("GFP",)
    assert metadata.instrument == {"recorded_frame_rate": 24.0, "a": 1}


def test_a_parameter_out_of_range_is_refused() -> None:
    """As in the simulated camera; the cache, too."""
    wrong: list[dict[str, Any]] = [{"rate": -1.0}, {"frames": 0}, {"cache_bytes": -1}]
    for parameters in wrong:
        with pytest.raises(SourceError, match="cannot be"):
            ReplaySource(numbered(), **parameters)


def test_real_frames_go_into_a_run_and_out_of_it_again(tmp_path: Path) -> None:
    """The bulk water frames, looped, recorded, and the run replayed in its turn."""
    run = tmp_path / "water"
    given = ImageMetadata(pixel_size=(0.351, 0.351), exposure=0.005, instrument={"lens": "60x"})
    with ReplaySource(WATER, frames=70, metadata=given) as source:
        status = acquire(source, run, frames_per_block=32)
    assert (status.committed, status.dropped) == (70, 0)
    assert open_run(run).closed
    with ReplaySource(run) as again:
        assert again.metadata == given
        for frame in again.frames():
            with Image.open(WATER / f"bulk_water_{frame.counter % 64:03}.png") as image:
                np.testing.assert_array_equal(frame.data, np.array(image))


def test_a_simulated_camera_keeps_the_same_pace() -> None:
    """Lost exposures take their time."""
    clock = ManualClock(wall=0)
    scene = Scene(shape=(4, 4), emitters=0)
    with SimulatedSource(scene, rate=10, frames=6, lost_counters={2, 3}, clock=clock) as source:
        stamps = {frame.counter: frame.timestamp for frame in source.frames()}
    assert stamps == {k: k * 100_000_000 for k in (0, 1, 4, 5)}
    assert clock.waits == [0.0, 0.1, 0.4, 0.5]
