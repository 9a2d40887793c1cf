"""What a worker says that has come since the scheduler was asked for its workers."""

from typing import Any

import distributed
import pytest

from forebay.cluster.larger import CEILING
from forebay.engine.execution import executor

dask: Any = distributed


def test_a_newcomer_that_is_too_small_is_known_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unit would not wait for the larger worker otherwise, and be a dead letter at once."""
    monkeypatch.setattr(executor, "_SLOTS_SECONDS", 1e9)
    with (
        dask.LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            memory_limit=1 << 30,
            processes=False,
            dashboard_address=":0",
        ) as cluster,
        dask.Client(cluster, set_as_default=False) as client,
    ):
        client.set_metadata([CEILING], 2 << 30)
        its = executor.DaskExecutor(client)
        assert its.slots == 1
        cluster.scale(1)
        client.wait_for_workers(1, timeout=60)
        (worker,) = client.scheduler_info(n_workers=-1)["workers"]
        assert its.exceeded_memory(worker) == 1 << 30
        assert its.exceeded_memory("tcp://127.0.0.1:1") is None
