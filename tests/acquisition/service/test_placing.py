"""All that a recording waits for is placed as its threads are: cameras, flushes, journals."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.acquisition import Frame, acquire
from forebay.acquisition.service.scheduling import SchedulingSettings, place_thread
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sources import Scene, SimulatedSource, SynchronisedSource

CORE = max(os.sched_getaffinity(0))
WISHED = {"cores": [CORE], "realtime_priority": 1}

type Place = tuple[frozenset[int], int, int]


def place() -> Place:
    """Return how the calling thread is placed."""
    mine = threading.get_native_id()
    return (
        frozenset(os.sched_getaffinity(mine)),
        os.sched_getscheduler(mine),
        os.sched_getparam(mine).sched_priority,
    )


def wished_place() -> Place:
    """Return how a thread is placed that is placed as wished, as far as permitted here."""
    found: list[Place] = []

    def look() -> None:
        place_thread(SchedulingSettings.model_validate(WISHED))
        found.append(place())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def flushing(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[Place]]:
    """How threads are placed that flush, by their names without numbers."""
    places: dict[str, set[Place]] = {}
    for name in ("fsync", "fdatasync"):
        original = getattr(os, name)

        def flush(descriptor: int, original: Any = original) -> None:
            thread = threading.current_thread().name.split("_")[0]
            places.setdefault(thread, set()).add(place())
            original(descriptor)

        monkeypatch.setattr(os, name, flush)
    return places


class Camera(SimulatedSource):
    """A camera that knows how the thread is placed in which it is received."""

    def __init__(self) -> None:
        super().__init__(Scene(shape=(8, 8), emitters=1), frames=32)
        self.place: Place | None = None

    def frames(self) -> Iterator[Frame]:
        self.place = place()
        return super().frames()


def test_whoever_is_waited_for_is_as_urgent_as_who_waits(
    tmp_path: Path, flushing: dict[str, set[Place]]
) -> None:
    """The threads of each camera, those that flush a block together, and that of the journal."""
    before, wished = place(), wished_place()
    assert wished != before
    cameras = [Camera(), Camera()]
    with SynchronisedSource(cameras, names=["left", "right"]) as source:
        acquire(
            source,
            tmp_path / "run",
            settings=AcquisitionSettings.model_validate(
                {"frames_per_block": 8, "durability": "frame", "scheduling": WISHED}
            ),
        )
    assert [camera.place for camera in cameras] == [wished, wished]
    behind = {"forebay-flush", "forebay-commit", "journal-flush"}
    assert behind <= flushing.keys()
    assert {name: flushing[name] for name in behind} == {name: {wished} for name in behind}
    assert place() == before


def test_what_is_refused_is_told_once(tmp_path: Path) -> None:
    """Not once for each thread."""
    settings = AcquisitionSettings.model_validate({"scheduling": {"cores": [1023]}})
    with SimulatedSource(Scene(shape=(8, 8), emitters=1), frames=4) as source:
        status = acquire(source, tmp_path / "run", settings=settings)
    assert len(status.warnings) == 1
    assert "there is none of the cores [1023]" in status.warnings[0]
