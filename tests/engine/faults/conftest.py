"""Sites to break things at."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from tests.engine.faults.algorithms import HARMFUL
from tests.engine.faults.site import FRAMES, Expected, Site
from tests.slurm import running_slurm, slurm

from forebay.acquisition import Run, open_run
from forebay.engine import process

__all__ = ["running_slurm", "slurm"]

type GiveRun = Callable[..., Run]


@pytest.fixture(scope="session")
def give_run(written_runs: Callable[..., Path]) -> GiveRun:
    """Give a run of so many blocks; nobody may change it."""

    def give(blocks: int, name: str = "run") -> Run:
        return open_run(
            written_runs(
                f"{name}-{blocks}",
                frames=blocks * FRAMES,
                frames_per_block=FRAMES,
                shape=(16, 16),
                close=True,
            )
        )

    return give


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Give what comes of a run where nothing is disturbed; each is computed once."""
    tables: dict[int, pd.DataFrame] = {}

    def table(run: Run) -> pd.DataFrame:
        blocks = run.history.frames // FRAMES
        if blocks not in tables:
            folder = tmp_path_factory.mktemp("undisturbed")
            result = process(run, HARMFUL, results=folder, log=str(folder / "log"))
            assert len(result.done) == blocks
            tables[blocks] = result.table()
        return tables[blocks]

    return table


@pytest.fixture
def site(tmp_path: Path, expected: Expected) -> Iterator[Site]:
    """A site of the test's own."""
    made = Site(tmp_path, expected)
    yield made
    made.close()
