"""Units go to workers whose jobs last long enough for them."""

import sqlite3
from pathlib import Path
from typing import Any

import distributed
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.cluster.keeping import time_left
from forebay.cluster.keeping.time_left import TimeLeft
from forebay.engine import Algorithm, process
from forebay.engine.execution.executor import DaskExecutor

dask: Any = distributed
AT: list[str] = []


def noted(frames: xr.DataArray, *, turn: int = 0) -> pd.DataFrame:
    """Note the worker that is at it."""
    AT.append(dask.get_worker().address)
    return pd.DataFrame({"t": frames.t, "turn": turn})


@pytest.mark.parametrize(("left", "slots"), [(5.0, 1), (500.0, None)])
def test_a_unit_goes_where_there_is_time_for_it(
    write_run: WriteRun, tmp_path: Path, left: float, slots: int | None
) -> None:
    """How long it takes is known from the last time; the other worker has no end."""
    AT.clear()
    run, algorithm, results = (
        write_run(frames=8),
        Algorithm("noted", "1.0.0", noted),
        tmp_path / "r",
    )
    with (
        dask.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        dask.Client(cluster, set_as_default=False) as client,
    ):
        process(run, algorithm, client=client, results=results)
        with sqlite3.connect(results / "ledger.sqlite") as ledger:
            ledger.execute("UPDATE units SET seconds = 100")
        for each in cluster.workers.values():
            time_left.listen(each)
        ending, lasting = (each.address for each in cluster.workers.values())
        cluster.loop.add_callback(
            time_left.tell, cluster.scheduler, ending, TimeLeft(left, life=3600.0)
        )
        client.sync(client.scheduler.identity)
        assert DaskExecutor(client).slots_for(100.0) == slots
        AT.clear()
        assert len(process(run, algorithm, client=client, results=results, turn=1).done) == 2
    assert len(AT) == 2
    assert slots is None or set(AT) == {lasting}
