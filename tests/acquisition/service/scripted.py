"""A source that follows a script, and what has to hold of its run."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import pytest

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    Geometry,
    ImageMetadata,
    Run,
    verify_run,
)
from forebay.acquisition.run.writing.writable import WritableRun

FRAME_BYTES = 24
SMALL = 8 * FRAME_BYTES
LONG = 5_000

type Step = int | Callable[[], object] | Frame


def frame(counter: int) -> Frame:
    return Frame(counter, counter * 10, np.full((3, 4), counter, "uint16"))


class Scripted:
    """A source that follows a script: a counter is a frame, a function is called."""

    def __init__(self, script: list[Step] | range, *, can_wait: bool = True) -> None:
        self.geometry = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
        self.metadata = ImageMetadata(instrument={"serial": "A-1"})
        self.can_wait = can_wait
        self.stopped = threading.Event()
        self.ended = threading.Event()
        self.stops = 0
        self._script = script

    def frames(self) -> Iterator[Frame]:
        try:
            for step in self._script:
                if self.stopped.is_set():
                    return
                if callable(step):
                    step()
                else:
                    yield step if isinstance(step, Frame) else frame(step)
        finally:
            self.ended.set()

    def stop(self) -> None:
        self.stops += 1
        self.stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every thread of an acquisition has ended when it returns."""
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("forebay-")]
    assert left == []


@pytest.fixture
def slow_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each append takes longer than the camera does."""
    take = WritableRun.take

    def slowly(self: WritableRun, counter: int, *, waited: float) -> None:
        time.sleep(0.002)
        take(self, counter, waited=waited)

    monkeypatch.setattr(WritableRun, "take", slowly)


def check_sums(run: Run, status: AcquisitionStatus | None = None) -> list[int]:
    """Check that every counter is there once, taken or dropped; return those that were taken."""
    taken: list[int] = run.frames.frame_id.to_numpy().tolist()
    lost = [number for each in run.dropped for number in range(each.first, each.last + 1)]
    assert len({*taken, *lost}) == len(taken) + len(lost)
    closed = run.history.closed
    assert closed is not None
    assert (closed.committed, closed.dropped_count) == (len(taken), len(lost))
    assert closed.counted == len(taken) + len(lost)
    if taken:
        assert closed.counted == max(*taken, *lost, 0) - min(*taken, *lost, 2**64) + 1
    if status:
        assert (status.committed, status.dropped, status.counted) == (
            closed.committed,
            closed.dropped_count,
            closed.counted,
        )
    np.testing.assert_array_equal(run.frames.to_numpy()[:, 0, 0], taken)
    assert verify_run(run).ok
    assert run.writer is None
    return taken


def reason(run: Run) -> str:
    assert run.history.closed is not None
    return run.history.closed.reason
