"""A queue on the second path, and what comes out of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition import Frame, Geometry
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import Spilled, SpillQueue

RUN_ID = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
SEGMENT = 4096 + 3 * 128

type Make = Callable[..., Frame]
type Open = Callable[..., SpillQueue]


@pytest.fixture
def spill(memory: Callable[[], Path]) -> Open:
    """Open a queue of segments of three frames, or take one over."""
    folder = memory()

    def make(
        *, epoch: int = 1, segments: int = 4, recover: bool = False, **options: Any
    ) -> SpillQueue:
        room = Room(segments * SEGMENT, SEGMENT, spares=0)
        start = SpillQueue.recover if recover else SpillQueue
        return start(folder, RUN_ID, GEOMETRY, epoch=epoch, room=room, **options)

    return make


def empty() -> npt.NDArray[Any]:
    return np.zeros((3, 4), "uint16")


def take_all(queue: SpillQueue) -> list[Spilled]:
    taken = []
    while spilled := queue.take(empty()):
        taken.append(spilled)
    return taken


def counters(queue: SpillQueue) -> list[int]:
    return [each.frame.counter for each in take_all(queue) if each.frame]


def counters_of(spilled: Spilled | None) -> int:
    assert spilled
    assert spilled.frame
    return spilled.frame.counter
