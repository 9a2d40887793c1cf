"""The work that is measured: some arithmetic on blocks, as a script does it and as a unit does."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import forebay
from forebay.acquisition import Block, Frame, Geometry, RunWriter
from forebay.acquisition.format.history import History
from forebay.engine.results.part import write_part


def smooth_and_sum(frames: xr.DataArray, *, rounds: int = 1) -> pd.DataFrame:
    """Do some arithmetic on frames; return a row for each."""
    pixels = frames.astype("float32")
    for _ in range(rounds):
        pixels = (pixels + pixels.shift(x=1, fill_value=0) + pixels.shift(y=1, fill_value=0)) / 3
    sums = pixels.sum(("y", "x")).to_numpy()
    return pd.DataFrame({"t": frames.t.to_numpy(), "sum": sums})


def one_block(run: forebay.Run, block: Block, work: int, parts: Path | None) -> pd.DataFrame:
    """Read a block by Dask, compute with NumPy, and write the table where asked to."""
    return _written(smooth_and_sum(run.frames_of([block]).compute(), rounds=work), block, parts)


def one_block_read_whole(
    run: forebay.Run, block: Block, work: int, parts: Path | None
) -> pd.DataFrame:
    """Read a block by one call, compute with NumPy, and write the table where asked to."""
    return _written(smooth_and_sum(run.read([block], block.extent), rounds=work), block, parts)


def _written(rows: pd.DataFrame, block: Block, parts: Path | None) -> pd.DataFrame:
    if parts is not None:
        write_part(parts, f"{block.number}-{time.time_ns()}", rows, provenance={})
    return rows


def busy_for(frames: xr.DataArray, *, seconds: float = 0.3) -> pd.DataFrame:
    """Keep a processor at work for so many seconds of its time; return a row for each tile."""
    pixels = frames.to_numpy().astype("float64")
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        np.sqrt(pixels * pixels + 1.0)
    t, y, x = (frames[name].to_numpy()[:1] for name in ("t", "y", "x"))
    return pd.DataFrame({"t": t, "y": y, "x": x, "sum": [pixels.sum()]})


def without_history(run: forebay.Run) -> forebay.Run:
    """Return a run that is quickly sent: one who writes such a script well knows that it has to."""
    return dataclasses.replace(run, history=History())


def written(folder: Path, *, blocks: int, per_block: int, side: int) -> forebay.Run:
    """Write a run."""
    generator = np.random.default_rng(5)
    pixels = generator.integers(0, 4000, (side, side)).astype("uint16")
    with recording(folder, per_block=per_block, side=side) as writer:
        for counter in range(blocks * per_block):
            writer.append(Frame(counter, counter, pixels))
    return forebay.open_run(folder)


@contextmanager
def recording(folder: Path, *, per_block: int, side: int) -> Iterator[RunWriter]:
    """Give the writer of a new run."""
    geometry = Geometry(("y", "x"), (side, side), np.dtype("uint16"))
    with RunWriter.create(folder, geometry, frames_per_block=per_block) as writer:
        yield writer
