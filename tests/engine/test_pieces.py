"""Units that are too large for a worker's memory: on a larger worker, or in pieces."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.acquisition import Run
from forebay.cluster.client import known_workers
from forebay.engine import Algorithm, Blockwise, Result, Sequential, process
from forebay.engine.errors import AlgorithmError, UnitsFailedError
from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import ATTEMPTS, UNITS
from forebay.engine.results.folder import ResultFolder

FRAMES = 7
"""Of a run of two blocks, of four frames and of three."""
SMALL, LARGE = 2 * 10**9, 4 * 10**9


def bright(frames: xr.DataArray, *, most: int = 100) -> pd.DataFrame:
    """List the bright pixels; there is memory for so many frames."""
    if frames.sizes["t"] > most:
        raise MemoryError(f"{frames.sizes['t']} frames are too many")
    t, y, x = np.nonzero(frames.to_numpy() > 150)
    return pd.DataFrame({"t": frames.t.to_numpy()[t], "y": y, "x": x})


def means(frames: xr.DataArray, *, most: int = 100) -> xr.Dataset:
    """Average three frames each, as far as there are any; there is memory for so many."""
    if frames.sizes["t"] > most:
        raise MemoryError(f"{frames.sizes['t']} frames are too many")
    pixels = frames.astype("float32").compute()
    # Each by itself: a running sum has other last bits where it begins elsewhere.
    here = xr.ones_like(pixels)
    total, number = (
        each + each.shift(t=1, fill_value=0) + each.shift(t=-1, fill_value=0)
        for each in (pixels, here)
    )
    mean = total / number
    return xr.Dataset({"mean": mean, "sum": pixels.sum(("y", "x"))}, attrs={"unit": "counts"})


BRIGHT = Algorithm("bright", "1.0.0", bright, divisible=True)
MEANS = Algorithm("means", "1.0.0", means, Blockwise(halo_frames=1), divisible=True)


def contents(result: Result) -> dict[str, dict[str, bytes]]:
    """Return the files of each part but its manifest, which tells of the attempt."""
    found = {}
    for unit in result.done:
        assert unit.part is not None
        part = ResultFolder(result.path).parts / unit.part
        found[unit.label] = {
            str(path.relative_to(part)): path.read_bytes()
            for path in sorted(part.rglob("*"))
            if path.is_file() and path.name != "part.json"
        }
    return found


def rows(run: Run, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    """Return what the ledger of a run's results holds."""
    with (
        Database(Path(run.location).parent / "results" / "ledger.sqlite") as database,
        database.read() as connection,
    ):
        query = table.select().with_only_columns(*(table.c[name] for name in columns))
        return sorted((tuple(row) for row in connection.execute(query)), key=repr)


@pytest.mark.parametrize(
    ("algorithm", "most", "expected"), [(BRIGHT, 1, {0: 4, 4: 4}), (MEANS, 3, {0: 4, 4: 2})]
)
def test_a_unit_in_pieces_gives_the_same_bytes(
    write_run: WriteRun,
    tmp_path: Path,
    algorithm: Algorithm,
    most: int,
    expected: dict[int, int],
) -> None:
    """It is halved until there is memory for it, and is one unit with one part all the same."""
    run = write_run(frames=FRAMES)
    whole = process(run, algorithm, results=tmp_path / "whole")
    small = process(run, algorithm, most=most)
    assert contents(small) == contents(whole)
    assert [(unit.start, unit.stop) for unit in small.done] == [(0, 4), (4, 7)]
    assert dict(rows(run, UNITS, "start", "pieces")) == expected
    # Once alone as it was, and then once for each time that it was halved but the last.
    failures = sum(1 + number.bit_length() - 1 for number in expected.values())
    assert rows(run, ATTEMPTS, "failure") == [("out-of-memory",)] * failures


def test_what_fails_frame_by_frame_is_a_dead_letter(write_run: WriteRun) -> None:
    run = write_run(frames=4)
    with pytest.raises(UnitsFailedError, match="1 frames are too many"):
        process(run, BRIGHT, most=0)
    assert rows(run, UNITS, "state", "pieces") == [("dead", 4)]


def test_only_what_declares_it_is_computed_in_pieces(write_run: WriteRun) -> None:
    """Another algorithm may look at all frames of a block together."""
    run = write_run(frames=4)
    with pytest.raises(UnitsFailedError, match="4 frames are too many"):
        process(run, Algorithm("bright", "1.0.0", bright), most=2)
    assert rows(run, UNITS, "state", "attempt", "pieces") == [("dead", 3, 1)]


def test_only_blocks_are_divisible() -> None:
    with pytest.raises(AlgorithmError, match="only blocks are computed in pieces"):
        Algorithm("bright", "1.0.0", bright, Sequential(state="most"), divisible=True)


@pytest.fixture
def unequal() -> Iterator[Any]:
    """Two workers, one of them with twice the memory of the other."""
    library: Any = distributed
    options: Any = {"nthreads": 1, "dashboard": False, "host": "127.0.0.1"}
    workers = {
        name: {"cls": library.Worker, "options": {**options, "memory_limit": memory}}
        for name, memory in (("small", SMALL), ("large", LARGE))
    }
    scheduler = {
        "cls": library.Scheduler,
        "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "port": 0},
    }
    with (
        library.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=False) as cluster,
        library.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        yield client


def demanding(frames: xr.DataArray) -> pd.DataFrame:
    """Need more memory than the small worker has."""
    library: Any = distributed
    if library.get_worker().memory_manager.memory_limit <= SMALL:
        raise MemoryError("too much for this one")
    return pd.DataFrame({"t": frames.t.to_numpy()})


def test_a_larger_worker_computes_what_a_small_one_has_no_memory_for(
    write_run: WriteRun, unequal: Any
) -> None:
    """A unit that failed alone on the small one goes to the large one next."""
    run = write_run(frames=32)
    result = process(run, Algorithm("demanding", "1.0.0", demanding), client=unequal)
    assert len(result.table()) == 32
    small = {each["memory_limit"]: name for name, each in known_workers(unequal).items()}[SMALL]
    failed = rows(run, ATTEMPTS, "worker", "failure")
    assert failed
    assert set(failed) == {(small, "out-of-memory")}
    for memory, attempt in rows(run, UNITS, "memory", "attempt"):
        assert (memory, attempt) in {(None, 1), (None, 2), (SMALL, 3)}


@pytest.mark.fault
def test_a_process_with_a_real_limit_computes_in_pieces(write_run: WriteRun) -> None:
    """Its allocations fail; the result is that of a process that has no limit."""
    run = write_run(frames=8, frames_per_block=8)
    program = f"""
import resource
from pathlib import Path
import forebay
import numpy as np
import pandas as pd

def greedy(frames):
    scratch = np.empty((frames.sizes["t"], 250_000_000), "uint8")
    sums = frames.astype("float64").sum(("y", "x")).to_numpy() + scratch[:, :1].sum() * 0
    return pd.DataFrame({{"t": frames.t.to_numpy(), "sum": sums}})

algorithm = forebay.Algorithm("greedy", "1.0.0", greedy, divisible=True)
run = forebay.open_run({run.location!r})
# Libraries that are loaded when they are first used reserve room of their own.
light = forebay.Algorithm("light", "1.0.0", lambda frames: pd.DataFrame({{"t": frames.t}}))
forebay.process(run, light, results={str(Path(run.location).parent / "light")!r})
used = 1024 * int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0])
# There is room for two frames, with the threads that computing starts, and not for eight.
resource.setrlimit(resource.RLIMIT_AS, (used + 1_200_000_000,) * 2)
table = forebay.process(run, algorithm).table()
assert list(table.t) == [*range(8)]
expected = run.frames.astype("float64").sum(("y", "x")).to_numpy()
assert (table["sum"] == expected).all()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=200)
    ((pieces,),) = rows(run, UNITS, "pieces")
    assert pieces in {2, 4}
    assert {failure for (failure,) in rows(run, ATTEMPTS, "failure")} == {"out-of-memory"}
