"""Following an instrument that is faster than the processing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.engine import Algorithm, open_result, submit
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.serve import serve
from forebay.engine.queue.database import Database

BLOCKS = 24


def slowly(frames: xr.DataArray) -> pd.DataFrame:
    time.sleep(0.05)
    return pd.DataFrame({"t": frames.t})


@contextmanager
def serving(ledger: Path, algorithm: Algorithm, order: list[int]) -> Iterator[None]:
    """Work on the jobs of a ledger in this process, and note which block is published when."""

    @contextmanager
    def here() -> Iterator[None]:
        yield None

    def observe(event: JobEvent) -> None:
        if isinstance(event, UnitPublished):
            order.append(event.unit.core.t.start)

    stop = threading.Event()
    with Database(ledger) as database:
        thread = threading.Thread(
            target=serve,
            args=(database, here, lambda *_: algorithm),
            kwargs={"stop": stop, "on_event": observe},
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("keep_up", [1, 4])
def test_what_is_late_is_made_up_for(tmp_path: Path, keep_up: int) -> None:
    """Every block is computed in the end; when late, every fourth goes first if that is wanted."""
    order: list[int] = []
    algorithm = Algorithm("slowly", "1.0.0", slowly)
    ledger = tmp_path / "ledger.sqlite"
    geometry = Geometry(("y", "x"), (4, 4), np.dtype("uint16"))
    with RunWriter.create(tmp_path / "run", geometry, frames_per_block=1) as writer:
        job = submit(
            open_run(tmp_path / "run"),
            algorithm,
            ledger=ledger,
            lane="realtime",
            live=True,
            keep_up=keep_up,
        )
        for counter in range(BLOCKS):
            writer.append(Frame(counter, counter, np.zeros((4, 4), "uint16")))
    with serving(ledger, algorithm, order):
        assert job.wait(timeout=60).state == "done"
    (folder,) = (tmp_path / "results" / "run").iterdir()
    assert open_result(folder).table()["t"].tolist() == list(range(BLOCKS))
    everything = list(range(BLOCKS))
    if keep_up > 1:
        fourth = [block for block in everything if block < keep_up or block % keep_up == 0]
        everything = [*fourth, *(block for block in everything if block not in fourth)]
    assert order == everything
