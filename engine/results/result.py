"""A result: the published parts of a job, read as one table or one set of arrays."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from forebay.acquisition import durable
from forebay.engine.errors import ResultNotFoundError
from forebay.engine.ledger import Ledger, UnitRecord
from forebay.engine.results.part import Output, read_part
from forebay.engine.results.provenance import environment
from forebay.engine.unit import Job

DESCRIPTION = "result.json"
LEDGER = "ledger.sqlite"
PARTS = "parts"
STAGING = "staging"


@dataclass(frozen=True, slots=True)
class Result:
    """What is published of a job; parts that come later show when it is opened again."""

    path: Path
    """Folder of the result."""
    job: Job
    """The job."""
    units: tuple[UnitRecord, ...]
    """What the ledger knows of the job's units."""
    computed: int = 0
    """Units that the call which returned this result has published."""

    @property
    def done(self) -> tuple[UnitRecord, ...]:
        """The published units, in the order of their frames."""
        return tuple(unit for unit in self.units if unit.part is not None)

    @property
    def failed(self) -> tuple[UnitRecord, ...]:
        """The units of which no part could be computed."""
        return tuple(unit for unit in self.units if unit.state == "failed")

    @property
    def frames(self) -> int:
        """Number of frames that the published parts answer for."""
        return sum(stop - start for start, stop in {(each.start, each.stop) for each in self.done})

    def parts(self) -> Iterator[Output]:
        """Read the parts one after the other; arrays are lazy.

        Raises
        ------
        ResultDamagedError
            If one is missing or has changed.
        """
        for unit in self.done:
            if unit.part is not None and unit.part_blake3 is not None:
                yield read_part(self.path / PARTS / unit.part, blake3_digest=unit.part_blake3)

    def table(self) -> pd.DataFrame:
        """Return the rows of all parts as one table.

        Raises
        ------
        TypeError
            If the algorithm returns arrays.
        """
        tables = [part for part in self.parts() if isinstance(part, pd.DataFrame)]
        if len(tables) != len(self.done):
            raise TypeError(f"{self.path} holds arrays; use arrays()")
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def arrays(self) -> xr.Dataset:
        """Return the arrays of all parts as one, lazily, put together by their coordinates.

        Raises
        ------
        TypeError
            If the algorithm returns tables.
        """
        arrays = [part for part in self.parts() if isinstance(part, xr.Dataset)]
        if len(arrays) != len(self.done):
            raise TypeError(f"{self.path} holds tables; use table()")
        if len(arrays) < 2:
            return arrays[0] if arrays else xr.Dataset()
        if len({unit.start for unit in self.done}) == len(arrays):
            return xr.concat(arrays, dim="t", data_vars="minimal", coords="minimal", join="exact")
        combined = xr.combine_by_coords(arrays, combine_attrs="drop_conflicts", join="outer")
        assert isinstance(combined, xr.Dataset)  # noqa: S101 (datasets combine to a dataset)
        return combined


def default_results(run_path: Path | None) -> Path | None:
    """Return the folder in which the results of a run lie unless another is given."""
    return None if run_path is None else run_path.parent / "results"


def result_folder(results: Path, job: Job) -> Path:
    """Return the folder of a job's result."""
    return results / job.run_name / f"{job.algorithm}-{job.version}-{job.identity[:8]}"


@contextmanager
def open_ledger(results: Path) -> Iterator[Ledger]:
    """Open the ledger of a results folder for the time of a block."""
    ledger = Ledger(results / LEDGER)
    try:
        yield ledger
    finally:
        ledger.close()


def describe(folder: Path, job: Job) -> None:
    """Write beside the parts what they are the result of, once."""
    target = folder / DESCRIPTION
    if target.is_file():
        return
    with durable.storage_errors(f"the result {folder}"):
        for name in (PARTS, STAGING):
            (folder / name).mkdir(parents=True, exist_ok=True)
        content = {"format_version": 1, **asdict(job), "job": job.identity}
        text = json.dumps({**content, "environment": environment()}, indent=1)
        durable.replace(folder / STAGING / DESCRIPTION, target, text.encode())


def open_result(path: str | os.PathLike[str]) -> Result:
    """Open the result of a job.

    Parameters
    ----------
    path
        Folder of the result.

    Raises
    ------
    ResultNotFoundError
        If there is none.
    """
    folder = Path(path)
    ledger_path = folder.parent.parent / LEDGER
    try:
        identity = json.loads((folder / DESCRIPTION).read_bytes())["job"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError) as error:
        raise ResultNotFoundError(
            f"{folder} is not a result: it has no {DESCRIPTION} that names a job"
        ) from error
    if not ledger_path.is_file():
        raise ResultNotFoundError(f"{folder} has lost its ledger, {ledger_path}")
    with open_ledger(folder.parent.parent) as ledger:
        return load_result(folder, ledger, identity)


def load_result(folder: Path, ledger: Ledger, identity: str, *, computed: int = 0) -> Result:
    """Return what the ledger knows of a job."""
    job = ledger.job(identity)
    if job is None:
        raise ResultNotFoundError(f"the ledger does not know the job of {folder}")
    return Result(folder, job, tuple(ledger.units(identity)), computed)
