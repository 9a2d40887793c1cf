"""Small journals to test with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Frame, FrameFlag, Geometry
from forebay.acquisition.frames import NO_FLAGS
from forebay.acquisition.journal.journal import FrameJournal, Window
from forebay.acquisition.journal.row import Room

RUN_ID = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
RECORD_BYTES = 128
"""A record of such a frame: 64 bytes for its head, 24 for the pixels, and filled up to 64."""
HEAD_BYTES = 4096

type Make = Callable[..., Frame]
type Open = Callable[..., FrameJournal]


@pytest.fixture
def frame() -> Make:
    """Make the frame of a counter."""

    def make(counter: int, flags: FrameFlag = NO_FLAGS) -> Frame:
        pixels = (np.arange(12, dtype="uint16").reshape(3, 4) + 1) * (counter % 251 + 1)
        return Frame(counter, 1_000 * counter, pixels, flags)

    return make


@pytest.fixture
def open_journal(memory: Callable[[], Path]) -> Open:
    """Open a journal in memory, with segments of three frames unless told otherwise."""
    folder = memory()

    def make(
        *, epoch: int = 1, records: int = 3, segments: int = 4, **options: Any
    ) -> FrameJournal:
        segment_bytes = HEAD_BYTES + records * RECORD_BYTES
        room = Room(segments * segment_bytes, segment_bytes, spares=options.pop("spares", 0))
        window = options.pop("window", Window())
        return FrameJournal(
            folder / "journal",
            run_id=RUN_ID,
            geometry=options.pop("geometry", GEOMETRY),
            epoch=epoch,
            room=room,
            window=window,
            **options,
        )

    return make
