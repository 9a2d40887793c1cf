"""What is recorded while something goes wrong, and what the writer says of it.

A recording runs in a process of its own, with the folder that the fault concerns, and with a file
elsewhere into which it writes each number of frames that it was told to be committed: what stands
there was promised.
"""

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tests.acquisition.faults.promises import Promises

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    Geometry,
    ImageMetadata,
    RunWriter,
    acquire,
    open_run,
)
from forebay.acquisition.journal.row import Room
from forebay.acquisition.service.prepare import prepare, prepare_again
from forebay.acquisition.settings import AcquisitionSettings

FRAMES_PER_BLOCK = 2
COUNTERS = (10, 11, 13, 14, 15)
"""What the camera of a small run counts: 12 is lost on the way, and the last block is short."""
LATER = (18, 19)
"""What it counts for the second writer of a run: a whole block."""
SMALL = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
LARGER = Geometry(("y", "x"), (32, 33), np.dtype("uint16"))
RUN = "run"

QUIET_SECONDS = 30.0
"""Longest time that a camera says nothing."""

type Recording = Callable[..., None]


def pixels(counter: int, geometry: Geometry = SMALL) -> npt.NDArray[Any]:
    """Return the pixels of a frame: they tell which one it is, and none is zero."""
    along = np.arange(np.prod(geometry.shape), dtype="uint32") % 251 + 1
    return (along * (counter % 97 + 1)).astype(geometry.dtype).reshape(geometry.shape)


def frame(counter: int, geometry: Geometry = SMALL) -> Frame:
    """Return the frame with a counter."""
    return Frame(counter, counter * 1000, pixels(counter, geometry))


class ListedSource:
    """A source of frames with listed counters.

    Parameters
    ----------
    counters
        The counters.
    geometry
        Layout of the frames.
    can_wait
        Whether it may be held up.
    before
        Called before each frame with its place in the row.
    held_at
        Place at which it waits until it is released, or stopped.
    """

    def __init__(
        self,
        counters: Sequence[int],
        geometry: Geometry = SMALL,
        *,
        can_wait: bool = True,
        before: Callable[[int], object] = lambda _: None,
        held_at: int | None = None,
    ) -> None:
        self.geometry = geometry
        self.metadata = ImageMetadata()
        self.can_wait = can_wait
        self.stopped = threading.Event()
        self._counters = counters
        self._before = before
        self._held_at = held_at
        self._released = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames."""
        for place, counter in enumerate(self._counters):
            self._before(place)
            if place == self._held_at:
                assert self._released.wait(QUIET_SECONDS)
            if self.stopped.is_set():
                return
            yield frame(counter, self.geometry)

    def stop(self) -> None:
        """Make `frames` end."""
        self.stopped.set()
        self._released.set()

    def release(self) -> None:
        """Let it go on."""
        self._released.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def record(
    disk: Path,
    promises: Promises,
    *,
    counters: Sequence[int] = COUNTERS,
    show_seconds: float = 1.0,
) -> None:
    """Record a small run through the service; the first block is committed before the second."""
    settings = AcquisitionSettings(show_seconds=show_seconds, frames_per_block=FRAMES_PER_BLOCK)
    source = ListedSource(counters, held_at=FRAMES_PER_BLOCK)

    def tell(status: AcquisitionStatus) -> None:
        if status.committed:
            promises.tell(committed=status.committed)
            source.release()

    status = acquire(source, disk / RUN, settings=settings, on_status=tell)
    promises.tell(committed=status.committed, closed=True)


def go_on(disk: Path, promises: Promises, *, counters: Sequence[int]) -> None:
    """Take over a run whose writer is gone, record those of `counters` that it lacks, close it."""
    with RunWriter.resume(disk / RUN) as writer:
        promises.tell(committed=writer.committed)
        following = (open_run(disk / RUN).history.first_counter or 0) + writer.counted
        for counter in counters:
            if counter >= following:
                writer.append(frame(counter, writer.layout.geometry))
                promises.tell(committed=writer.committed)
    promises.tell(committed=writer.committed, closed=True)


def record_each_frame(disk: Path, promises: Promises, *, counters: Sequence[int]) -> None:
    """Record a small run, or go on with it, through the service; each frame is safe by itself."""
    _record_safely(ListedSource(counters), disk, promises)


def record_and_fall_silent(disk: Path, promises: Promises, *, frames: int) -> None:
    """Record some frames, each safe by itself, the last of which fill no block; then none come."""

    def tell(place: int) -> None:
        promises.tell(delivered=place)

    _record_safely(ListedSource(range(frames + 1), before=tell, held_at=frames), disk, promises)


def _record_safely(source: ListedSource, disk: Path, promises: Promises) -> None:
    # In a process of its own; no disk is to be filled with segments of 256 MiB for a few frames.
    with_small_segments()
    settings = AcquisitionSettings(durability="frame", frames_per_block=FRAMES_PER_BLOCK)
    if (disk / RUN).exists():
        acquisition = prepare_again(source, disk / RUN, settings=settings)
    else:
        acquisition = prepare(source, disk / RUN, settings=settings)
    status = acquisition.run(on_status=lambda now: promises.tell(committed=now.committed))
    promises.tell(committed=status.committed, closed=True)


def with_small_segments() -> None:
    """Let the segments of journals have 1 MiB where nobody says something else."""
    known = {each.name: each.default for each in dataclasses.fields(Room)}
    defaults = {**known, "segment_bytes": 2**20}
    Room.__init__.__defaults__ = tuple(defaults.values())


def record_on(disk: Path, promises: Promises, *, frames: int) -> None:
    """Record as fast as the storage can, through the service."""

    def tell(status: AcquisitionStatus) -> None:
        promises.tell(committed=status.committed)

    source = ListedSource(range(frames), LARGER)
    status = acquire(source, disk / RUN, frames_per_block=FRAMES_PER_BLOCK, on_status=tell)
    promises.tell(committed=status.committed, closed=True)


if __name__ == "__main__":
    record(Path(sys.argv[1]), Promises(Path(sys.argv[2])))
