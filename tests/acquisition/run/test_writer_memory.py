"""What a writer keeps: nothing more, however many blocks it has written."""

import gc
import multiprocessing
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from forebay.acquisition import Frame, Geometry, RunWriter

WARM, MEASURED = 100, 400
MOST_BYTES = 60.0
"""For each block: Python 3.12 keeps each part of a path that it has seen, which takes about 100."""
SECONDS = 100.0


def bytes_kept_for_each_block(path: Path) -> float:
    """Write blocks, and return how much more memory is in use; runs in a process of its own."""
    geometry = Geometry(("y", "x"), (4, 4), np.dtype("uint16"))
    pixels = np.arange(16, dtype="uint16").reshape(4, 4)

    def in_use_after(writer: RunWriter, counters: range) -> int:
        for counter in counters:
            writer.append(Frame(counter, counter, pixels))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    with RunWriter.create(path, geometry, frames_per_block=1) as writer:
        before = in_use_after(writer, range(WARM))
        return (in_use_after(writer, range(WARM, WARM + MEASURED)) - before) / MEASURED


def test_a_block_leaves_nothing_behind_in_memory(memory: Callable[[], Path]) -> None:
    """In a process that has seen none of the names before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        kept = process.submit(bytes_kept_for_each_block, memory() / "run").result(SECONDS)
    assert kept < MOST_BYTES
