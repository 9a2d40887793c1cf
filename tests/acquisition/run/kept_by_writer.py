"""Prints how many bytes stay in memory for each block that a writer has written.

``kept_by_writer.py RUN`` is run by test_writer_memory.py, in a process that has seen none of the
names before.
"""

import gc
import sys
import tracemalloc

import numpy as np

from forebay.acquisition import Frame, Geometry, RunWriter

WARM, MEASURED = 100, 400
GEOMETRY = Geometry(("y", "x"), (4, 4), np.dtype("uint16"))
PIXELS = np.arange(16, dtype="uint16").reshape(4, 4)


def in_use_after(writer: RunWriter, counters: range) -> int:
    """Write a block for each counter; return the bytes of all objects then."""
    for counter in counters:
        writer.append(Frame(counter, counter, PIXELS))
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    tracemalloc.start()
    with RunWriter.create(sys.argv[1], GEOMETRY, frames_per_block=1) as run:
        before = in_use_after(run, range(WARM))
        print((in_use_after(run, range(WARM, WARM + MEASURED)) - before) / MEASURED)
