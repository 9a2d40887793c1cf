"""A worker with more memory, started for what the others have not enough for."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr
from pydantic import ByteSize
from tests.engine.conftest import WriteRun

from forebay.cluster import LocalClusterSpecification, connect
from forebay.engine import Algorithm, process
from forebay.engine.errors import UnitsFailedError

SMALL, LARGE = ByteSize(600 * 2**20), ByteSize(900 * 2**20)


def demanding(least: int) -> Algorithm:
    """Return what needs a worker with so much memory for the frames from the fourth on."""

    def function(frames: xr.DataArray) -> pd.DataFrame:
        from distributed import get_worker

        worker: Any = get_worker()
        memory = worker.memory_manager.memory_limit
        if int(frames.t[0]) >= 4 and memory < least:
            raise MemoryError("too much for this one")
        return pd.DataFrame({"t": frames.t.to_numpy(), "memory": memory})

    return Algorithm("demanding", "1.0.0", function)


def test_it_is_started_for_a_unit_and_the_others_go_on(write_run: WriteRun) -> None:
    """What needs more than even that one has is a dead letter, which says what there can be."""
    specification = LocalClusterSpecification(workers=1, memory_limit=SMALL, memory_ceiling=LARGE)
    run = write_run(frames=8)
    with connect(specification) as client:
        table = process(run, demanding(int(LARGE)), client=client).table()
        assert sorted(table.t) == [*range(8)]
        assert set(table.memory[table.t >= 4]) == {int(LARGE)}
        assert set(table.memory[table.t < 4]) == {int(SMALL)}
        said = "or can have, more than 0.879 GiB of memory: raise its memory_ceiling"
        with pytest.raises(UnitsFailedError, match=said):
            process(run, demanding(2 * int(LARGE)), client=client, force=True)


def test_where_there_is_none_the_dead_letter_says_what_to_do(
    write_run: WriteRun, tmp_path: Path
) -> None:
    run = write_run(frames=8)
    specification = LocalClusterSpecification(workers=1, memory_limit=SMALL)
    said = (
        "or can have, more than 0.586 GiB of memory: give it a memory_ceiling, or larger workers, "
        "or declare the algorithm divisible"
    )
    with connect(specification) as client, pytest.raises(UnitsFailedError, match=said):
        process(run, demanding(int(LARGE)), client=client)


@pytest.mark.parametrize("ceiling", [SMALL, ByteSize(1)])
def test_a_ceiling_below_the_others_is_refused(ceiling: ByteSize) -> None:
    with pytest.raises(ValueError, match=f"memory_ceiling = {int(ceiling)} bytes is not above"):
        LocalClusterSpecification(memory_limit=SMALL, memory_ceiling=ceiling)
