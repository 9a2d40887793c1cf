"""A result: the published parts of a job, read as one table or one set of arrays."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from forebay.engine.errors import ResultFormError, ResultNotFoundError
from forebay.engine.given import check_given
from forebay.engine.queue.database import Database
from forebay.engine.queue.ledger import Ledger, UnitRecord
from forebay.engine.queue.states import UnitState
from forebay.engine.results.folder import ResultFolder
from forebay.engine.results.output import Output
from forebay.engine.results.part import read_part
from forebay.engine.unit import Job


@dataclass(frozen=True, slots=True)
class Result:
    """What is published of a job; parts that come later show when it is opened again.

    Examples
    --------
    >>> import tempfile, forebay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
    ...     run = forebay.open_run(f"{folder}/run")
    ...     result = forebay.process(run, "find-particles")
    ...     result.frames, len(result.done), result.failed, result.job.parameters["diameter"]
    (4, 2, (), 11)
    """

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
        return tuple(
            unit for unit in self.units if unit.part is None and unit.state == UnitState.DEAD
        )

    @property
    def frames(self) -> int:
        """Number of frames that the published parts answer for."""
        return sum(stop - start for start, stop in {(each.start, each.stop) for each in self.done})

    def __repr__(self) -> str:
        """Say what the result is and how far it has come."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.job.parameters.items())
        return (
            f"<Result {str(self.path)!r}: {self.job.algorithm}-{self.job.version}({chosen}) over "
            f"{self.job.run_name}, {self.frames} frames in {len(self.done)} parts{failed}>"
        )

    def parts(self) -> Iterator[Output]:
        """Read the parts one after the other; arrays are lazy.

        Raises
        ------
        ResultDamagedError
            If one is missing or has changed; for the values of arrays, when they are computed.
        ArchivedError
            If one has to be recalled from an archive before.

        Examples
        --------
        >>> import tempfile, forebay
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
        ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
        ...     run = forebay.open_run(f"{folder}/run")
        ...     result = forebay.process(run, "find-particles")
        ...     [sorted(set(part["t"])) for part in result.parts()]
        [[0, 1], [2, 3]]
        """
        folder = ResultFolder(self.path)
        for unit in self.done:
            assert unit.part is not None and unit.part_blake3 is not None  # noqa: S101, PT018
            yield read_part(folder.parts / unit.part, blake3_digest=unit.part_blake3)

    def table(self) -> pd.DataFrame:
        """Return the rows of all parts as one table.

        Returns
        -------
        pandas.DataFrame
            The rows in the order of their frames, with the columns that the algorithm returns.

        Raises
        ------
        ResultFormError
            If the algorithm returns arrays.
        ResultDamagedError, ArchivedError
            As `parts` does.

        Examples
        --------
        >>> import tempfile, forebay
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
        ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
        ...     run = forebay.open_run(f"{folder}/run")
        ...     result = forebay.process(run, "find-particles")
        ...     table = result.table()
        ...     sorted(set(table["t"])), table["x"].dtype
        ([0, 1, 2, 3], dtype('float64'))
        """
        tables = [part for part in self.parts() if isinstance(part, pd.DataFrame)]
        if len(tables) != len(self.done):
            raise ResultFormError(f"{self.path} holds arrays; use arrays()")
        # One without rows may not know the types of its columns.
        filled = [each for each in tables if len(each)] or tables[:1]
        return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()

    def arrays(self) -> xr.Dataset:
        """Return the arrays of all parts as one, lazily, put together by their coordinates.

        Returns
        -------
        xarray.Dataset
            The variables that the algorithm returns, on Dask: along ``t`` a chunk for each part.

        Raises
        ------
        ResultFormError
            If the algorithm returns tables, or arrays that do not fit together.
        ResultDamagedError, ArchivedError
            As `parts` does.

        Examples
        --------
        >>> import tempfile, forebay
        >>> @forebay.algorithm("brightest-pixel", version="1.0.0")
        ... def brightest_pixel(frames):
        ...     return frames.max(("y", "x"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
        ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
        ...     result = forebay.process(forebay.open_run(f"{folder}/run"), brightest_pixel)
        ...     brightest = result.arrays()["frames"]
        ...     brightest.dims, brightest.shape, brightest.dtype, brightest.chunksizes["t"]
        (('t',), (4,), dtype('uint16'), (2, 2))
        """
        arrays = [part for part in self.parts() if isinstance(part, xr.Dataset)]
        if len(arrays) != len(self.done):
            raise ResultFormError(f"{self.path} holds tables; use table()")
        if len(arrays) < 2:
            return arrays[0] if arrays else xr.Dataset()
        try:
            return _joined(list(zip(self.done, arrays, strict=True)))
        except ValueError as error:
            raise ResultFormError(
                f"the arrays in {self.path} cannot be put together ({_line(error)}); complete "
                "them if tiles are missing, else read them one by one with parts()"
            ) from error


def open_result(path: str | os.PathLike[str]) -> Result:
    """Open the result of a job; its parts are read from whichever tier they lie in.

    Parameters
    ----------
    path
        Folder of the result.

    Returns
    -------
    Result
        What the ledger knows of it now; no part is read yet.

    Raises
    ------
    ResultNotFoundError
        If there is none, or its ledger is gone.
    LedgerError
        If the ledger cannot be read.

    Examples
    --------
    >>> import tempfile, forebay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
    ...     run = forebay.open_run(f"{folder}/run")
    ...     result = forebay.process(run, "find-particles")
    ...     again = forebay.open_result(result.path)
    ...     again.frames, again.job.algorithm, again.computed
    (4, 'find-particles', 0)
    """
    check_given(open_result, locals())
    folder = ResultFolder(Path(path).absolute())
    identity = folder.job_identity()
    if identity is None:
        raise ResultNotFoundError(f"{path} is not a result: it has no result.json that names a job")
    ledger = folder.ledger
    if isinstance(ledger, Path) and not ledger.is_file():
        raise ResultNotFoundError(f"{path} has lost its ledger, {ledger}")
    with Database(ledger, create=False) as database:
        return load_result(folder, Ledger(database), identity)


def load_result(
    folder: ResultFolder, ledger: Ledger, identity: str, *, computed: int = 0
) -> Result:
    """Return what the ledger knows of a job."""
    job = ledger.job(identity)
    if job is None:
        raise ResultNotFoundError(f"the ledger does not know the job of {folder.path}")
    return Result(folder.path, job, tuple(ledger.units(identity)), computed)


def _joined(parts: list[tuple[UnitRecord, xr.Dataset]]) -> xr.Dataset:
    """Put parts together: tiles along x and y, then blocks along t."""
    nested: list[list[list[xr.Dataset]]] = []
    places: set[tuple[tuple[int, int], ...]] = set()
    for _, block in groupby(parts, key=lambda each: each[0].start):
        tiles = list(block)
        places.add(tuple((unit.y, unit.x) for unit, _ in tiles))
        rows = groupby(tiles, key=lambda each: each[0].y)
        nested.append([[arrays for _, arrays in row] for _, row in rows])
    if len(places) > 1 or len({len(row) for block in nested for row in block}) > 1:
        raise ValueError("some tiles are missing")
    along = {"join": "exact", "data_vars": "minimal", "coords": "minimal", "compat": "equals"}
    return xr.concat([_along("y", rows, along) for rows in nested], dim="t", **along)  # type: ignore[call-overload, no-any-return]


def _along(axis: str, rows: list[list[xr.Dataset]], options: dict[str, Any]) -> xr.Dataset:
    """Put the tiles of a block together."""
    joined = [row[0] if len(row) == 1 else xr.concat(row, dim="x", **options) for row in rows]
    return joined[0] if len(joined) == 1 else xr.concat(joined, dim=axis, **options)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
