"""Cameras that are lost, and come back or do not."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acquisition.sources.genicam.conftest import ADDRESS, Camera

from forebay.acquisition import Frame
from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import AnomalyKind
from forebay.acquisition.sources.genicam import GenicamSource
from forebay.acquisition.sources.genicam.reconnection import Reconnection

pytestmark = pytest.mark.camera

FEATURES = {"Width": "64", "Height": "48", "PixelFormat": "Mono16"}


def take(frames: Iterator[Frame], count: int) -> list[tuple[int, int]]:
    """Return the counters and the times of so many frames."""
    return [(frame.counter, frame.timestamp) for frame in itertools.islice(frames, count)]


def kinds(source: GenicamSource) -> list[AnomalyKind]:
    return [anomaly.kind for anomaly in source.anomalies.take(everything=True)]


def test_a_camera_that_was_switched_off_and_on_goes_on(camera: Camera) -> None:
    """With the settings that it had, though it has forgotten them, and counters that go up."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=50, patience=20) as source:
        frames = source.frames()
        before = take(frames, 10)
        camera.kill()
        camera.start()
        after = take(frames, 30)
        assert next(frames).data.shape == (48, 64)
        assert source.metadata.frame_rate == 50
        assert kinds(source) == [
            AnomalyKind.SOURCE_STALLED,
            AnomalyKind.SOURCE_RESUMED,
            AnomalyKind.COUNTER_RESTARTED,
        ]
    counters = [counter for counter, _ in before + after]
    times = np.diff([time for _, time in before + after])
    assert np.diff(counters).min() >= 1
    assert times.min() > 0
    assert times[20:].max() < 200_000_000, "the rate is the one from before"
    assert source.reception.complete >= 41


def test_a_camera_that_begins_anew_with_a_higher_number_has_lost_nothing_that_was_not(
    camera: Camera,
) -> None:
    """The fake one begins shortly before its numbers wrap, and is switched off when they have."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=400, patience=20) as source:
        frames = source.frames()
        last = next(frame.counter for frame in frames if frame.counter > 65600)
        camera.kill()
        camera.start()
        counters = [counter for counter, _ in take(frames, 30)]
        assert AnomalyKind.COUNTER_RESTARTED in kinds(source)
    # Those that were still under way when it was switched off are among them.
    assert last < counters[0]
    assert counters[-1] < last + 1000


def test_settings_that_were_made_elsewhere_are_made_again(camera: Camera) -> None:
    """Also what was not asked for here, but was so when the camera was opened."""
    with GenicamSource(ADDRESS, features={"GainRaw": "1"}):
        """Leave it set so."""
    with GenicamSource(
        ADDRESS, features={"Width": "64", "Height": "48"}, rate=50, patience=20
    ) as source:
        frames = source.frames()
        take(frames, 3)
        camera.kill()
        camera.start()
        take(frames, 3)
        frame = next(frames)
        assert AnomalyKind.SOURCE_RESUMED in kinds(source)
        ramp = np.add.outer(np.arange(48), np.arange(64))
        # The fake camera multiplies by 1 + gain, whatever number it gave the block.
        expected = [np.minimum((ramp + block) % 255 * 2, 255) for block in range(255)]
        assert any(np.array_equal(frame.data, each) for each in expected)


def test_a_camera_that_stands_still_for_a_moment_is_not_lost(camera: Camera) -> None:
    """Nothing is missing but a frame that it was sending, for it counts what it sends."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=50) as source:
        frames = source.frames()
        before = take(frames, 5)
        camera.freeze()
        threading.Timer(1.5, camera.thaw).start()
        after = take(frames, 5)
        assert kinds(source) == []
    counters = [counter for counter, _ in before + after]
    assert counters[4] < counters[5] <= counters[4] + 2
    assert after[0][1] - before[-1][1] > 1_000_000_000


def test_a_camera_that_comes_back_with_its_numbers_has_its_losses_counted(camera: Camera) -> None:
    """It was out of reach for so long that it was given up, and did not forget anything."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=20, patience=30) as source:
        frames = source.frames()
        before = take(frames, 5)
        camera.freeze()
        thaw = threading.Timer(7.5, camera.thaw)
        thaw.start()
        after = take(frames, 5)
        thaw.join()
        assert kinds(source) == [AnomalyKind.SOURCE_STALLED, AnomalyKind.SOURCE_RESUMED]
    first, last = after[0][0], before[-1][0]
    assert last < first < last + 20
    assert [counter for counter, _ in after] == list(range(first, first + 5))


def test_a_camera_that_does_not_come_back_ends_the_frames(camera: Camera) -> None:
    """After the patience; what is to be done is said, and all frames before were delivered."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=50, patience=0.5) as source:
        frames = source.frames()
        assert len(take(frames, 5)) == 5
        camera.kill()
        with pytest.raises(SourceError, match=r"was lost: .* within 0.5 s .* its power and its ca"):
            list(frames)
    camera.start()


def test_waiting_for_a_lost_camera_can_be_stopped(camera: Camera) -> None:
    """Soon, though Aravis waits longer; here for one that was lost at the beginning."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=50) as source:
        camera.kill()
        received = threading.Thread(target=lambda: list(source.frames()))
        received.start()
        deadline = time.monotonic() + 20
        while not source.anomalies.counts() and time.monotonic() < deadline:
            time.sleep(0.05)
        stopped = time.monotonic()
        source.stop()
        received.join(20)
        assert time.monotonic() - stopped < 10
        assert not received.is_alive()
    camera.start()


def test_a_stop_at_the_very_moment_that_the_camera_is_lost_is_heard(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While that is made which it would wake; then nobody is to wait for the camera."""

    def stopped_meanwhile(*arguments: Any, **options: Any) -> Any:
        source.stop()
        return Reconnection(*arguments, **options)

    monkeypatch.setattr(
        "forebay.acquisition.sources.genicam.source.Reconnection", stopped_meanwhile
    )
    with GenicamSource(ADDRESS, features=FEATURES, rate=50, patience=100) as source:
        camera.kill()
        received = threading.Thread(target=lambda: list(source.frames()))
        received.start()
        received.join(30)
        assert not received.is_alive()
    camera.start()


def test_a_camera_that_cannot_be_as_before_ends_the_frames(
    description: str, camera: Camera, tmp_path: Path
) -> None:
    """One that calls itself the same and has only narrow images now."""
    with GenicamSource(ADDRESS, rate=50, patience=20) as source:
        frames = source.frames()
        take(frames, 3)
        camera.kill()
        file = tmp_path / "narrow.xml"
        file.write_text(description.replace("<pMax>SensorWidth</pMax>", "<Max>256</Max>"))
        camera.command += ["-g", str(file)]
        camera.start()
        # Its register still says 512, so that it has to be set to show that it cannot be.
        with GenicamSource(ADDRESS, features={"Width": "256"}):
            """Leave it set so."""
        with pytest.raises(SourceError, match="come back with Width=256, which was 512 and cannot"):
            list(frames)


def test_another_camera_at_the_address_ends_the_frames(camera: Camera) -> None:
    """It is known by its serial number."""
    with GenicamSource(ADDRESS, features=FEATURES, rate=50, patience=20) as source:
        frames = source.frames()
        take(frames, 3)
        camera.kill()
        other = Camera("GV8")
        other.start()
        try:
            with pytest.raises(SourceError, match="serial number GV8 instead of GV7; start ano"):
                list(frames)
        finally:
            other.kill()
            camera.start()
