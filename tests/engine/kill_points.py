"""Kill a job at every instruction that changes what is stored, and complete it each time.

Run as a program, since it forks: ``kill_points.py RUN FOLDER MODE``, where MODE is ``fresh`` (the
job is killed when it runs for the first time) or ``forced`` (when it computes anew what is
published).  Every point has a process of its own, forked from one that has imported everything
and has started no thread.  It prints how many points there were.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alembic.command  # what each child would import anew
import distributed
import pandas as pd
import pyarrow.pandas_compat
import sqlalchemy as sa
import xarray as xr
from tests.children import in_a_child

from forebay.acquisition import Run, open_run
from forebay.engine import Algorithm, Result, open_result, process
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Job

CALLS = ("fsync", "rename", "replace", "link", "unlink", "rmdir", "mkdir")


def sums(frames: xr.DataArray) -> pd.DataFrame:
    """Add up each frame."""
    return pd.DataFrame({"t": frames.t, "total": frames.sum(("y", "x"))})


SUMS = Algorithm("sums", "1.0.0", sums)


def die_at(point: int) -> None:
    """Have this process killed just before the given one of the calls that change something."""
    passed = 0

    def count() -> None:
        nonlocal passed
        passed += 1
        if passed > point:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*args: Any, **kwargs: Any) -> Any:
            count()
            return call(*args, **kwargs)

        return calling

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))

    def commits(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writes"):
            count()

    sa.event.listen(sa.Engine, "commit", commits)


def check_published(run: Run, result: Result, *, whole: bool) -> None:
    """Compare what is published with what is known to be right."""
    table = result.table()
    expected = sums(run.frames.compute())
    if not whole and not table.empty:
        expected = expected[expected["t"].isin(table["t"])].reset_index(drop=True)
    if whole or not table.empty:
        pd.testing.assert_frame_equal(table, expected)
    assert not table.get("t", pd.Series(dtype=int)).duplicated().any()


def complete(run: Run, results: Path, *, forced: bool, once_more: bool) -> None:
    """Look at what a killed job has left, run it again, and look; then it has nothing to do."""
    folder = ResultFolder.of(results, Job.of(run, SUMS, {}))
    if folder.job_identity() is not None:
        check_published(run, open_result(folder.path), whole=forced)
    result = process(run, SUMS, results=results)
    check_published(run, result, whole=True)
    if once_more:
        assert process(run, SUMS, results=results).computed == 0
    assert list(folder.staging.iterdir()) == []
    assert {path.name for path in folder.parts.iterdir()} == {unit.part for unit in result.done}


def main(location: str, folder: str, mode: str) -> int:
    """Kill at the first point, at the second, and so on, until a job comes to its end."""
    run, forced = open_run(location), mode == "forced"
    before = Path(folder) / "before"
    if forced and in_a_child(lambda: void(process(run, SUMS, results=before))):
        return 1
    point = 0
    while True:
        results = Path(folder) / f"{mode}-{point}"
        if forced:
            shutil.copytree(before, results)

        def killed(results: Path = results, point: int = point) -> None:
            die_at(point)
            process(run, SUMS, results=results, force=forced)

        ended = in_a_child(killed)
        if ended not in {0, -signal.SIGKILL}:
            return 1
        # A completed job is the same wherever it was killed.
        once_more = ended == 0 or point % 8 == 0

        def completed(results: Path = results, once_more: bool = once_more) -> None:
            complete(run, results, forced=forced, once_more=once_more)

        if in_a_child(completed):
            sys.stderr.write(f"after a kill at point {point}\n")
            return 1
        shutil.rmtree(results)
        if ended == 0:
            sys.stdout.write(f"{point}\n")
            return 0
        point += 1


def void(_: object) -> None:
    """Forget a value."""


if __name__ == "__main__":
    assert all((alembic.command, distributed, pyarrow.pandas_compat))
    sys.exit(main(*sys.argv[1:]))
