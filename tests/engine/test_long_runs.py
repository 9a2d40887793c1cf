"""A run that is followed for weeks: its log is read once by each service, however long it is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run
from forebay.acquisition.format.record import Record, decode_line
from forebay.engine import Algorithm, submit
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.executor import InProcessExecutor
from forebay.engine.execution.planner import Planner
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning
from forebay.engine.unit import Unit

BLOCKS = 40
LATER = 4


def frames_of(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t.to_numpy()})


ALGORITHM = Algorithm("frames", "1.0.0", frames_of)


class Nobody:
    """Wants to know nothing of how planning goes."""

    def grown(self, result: str, run: Run) -> None:
        """Look away."""

    def skipped(self, result: str, units: list[Unit]) -> None:
        """Look away."""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Lines of logs that are read."""
    read: list[bytes] = []

    def counted(line: bytes, *, previous: str | None, where: str) -> Record | None:
        read.append(line)
        return decode_line(line, previous=previous, where=where)

    monkeypatch.setattr("forebay.acquisition.format.history.decode_line", counted)
    return read


def record(writer: RunWriter, counters: range) -> None:
    for counter in counters:
        writer.append(Frame(counter, counter, np.zeros((2, 3), "uint16")))


@pytest.mark.parametrize("planned_here", [True, False], ids=["alone", "beside another service"])
def test_a_service_reads_the_log_of_a_run_that_grows_once(
    tmp_path: Path, lines: list[bytes], planned_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it plans the run itself or computes what another one plans."""
    monkeypatch.setattr("forebay.engine.execution.benches._IDLE_SECONDS", 1e9)
    geometry, ledger = Geometry(("y", "x"), (2, 3), np.dtype("uint16")), tmp_path / "ledger.sqlite"
    with (
        Database(ledger) as database,
        RunWriter.create(tmp_path / "run", geometry, frames_per_block=1) as writer,
    ):
        record(writer, range(BLOCKS))
        submit(open_run(tmp_path / "run"), ALGORITHM, ledger=ledger, lane="realtime", live=True)
        lines.clear()
        other, service, executor = Service(database), Service(database), InProcessExecutor()
        planner = Planner(
            Planning(database, other.identity),
            Nobody(),
            find=lambda *_: ALGORITHM,
            wake=lambda: None,
        )
        if not planned_here:
            planner.look()
        dispatcher = Dispatcher(database, service, executor, lambda *_: ALGORITHM)
        for committed in range(BLOCKS, BLOCKS + LATER):
            while dispatcher.published < committed:
                planner.advance()
                dispatcher.turn(wait_seconds=0.02)
            record(writer, range(committed, committed + 1))
        planner.close()
        executor.close()
        dispatcher.close()
        other.end()
        service.end()
    looking = 1 if planned_here else 2
    assert len(lines) < looking * (BLOCKS + 2 * LATER)
