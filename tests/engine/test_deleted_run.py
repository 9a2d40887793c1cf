"""A run that is deleted while it is worked on: its job ends soon, says why, and can go on."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.acquisition import Run
from forebay.engine import Algorithm, process, reprocess
from forebay.engine.errors import UnitsFailedError
from forebay.engine.execution.events import JobEvent, UnitPublished


def means(frames: xr.DataArray) -> pd.DataFrame:
    """Measure each frame."""
    return pd.DataFrame({"t": frames.t.to_numpy(), "mean": frames.mean(("y", "x")).to_numpy()})


MEANS = Algorithm("means", "1.0.0", means, eager=True)


def moved_after(run: Run, units: int) -> tuple[Path, Callable[[JobEvent], None]]:
    """Return where a run is moved to once so many units of it are published, and what does it."""
    assert run.path is not None
    here, elsewhere = run.path, run.path.with_name(f"{run.path.name}-elsewhere")
    left = Counter(units=units)

    def watch(event: JobEvent) -> None:
        if isinstance(event, UnitPublished) and event.unit.job.run_name == here.name:
            left["units"] -= 1
            if left["units"] == 0:
                shutil.move(here, elsewhere)

    return elsewhere, watch


def test_one_failure_tells_of_all_that_cannot_be_computed(write_run: WriteRun) -> None:
    """Each block was a dead letter, and none said that the run was gone."""
    run = write_run(frames=400)
    elsewhere, watch = moved_after(run, 3)
    told = r"means-1\.0\.0: the run .*/run is not there any more, .*; (\d+) of 100 units are"
    with pytest.raises(UnitsFailedError, match=told) as failed:
        process(run, MEANS, on_event=watch)
    (published,) = re.findall(told, str(failed.value))
    assert run.path is not None
    shutil.move(elsewhere, run.path)
    result = process(run, MEANS)
    assert len(result.done) == 100
    assert result.computed == 100 - int(published) > 0


def test_other_runs_of_the_job_are_done(write_run: WriteRun) -> None:
    """The report names the run, and one dead letter tells what was missing first."""
    runs = [write_run("deleted", frames=400), write_run("good", frames=40)]
    _, watch = moved_after(runs[0], 3)
    report = reprocess(runs, MEANS, on_event=watch)
    assert not report.complete
    (error,) = report.progress.errors
    assert "deleted is not there any more" in error
    assert {each.target.job.run_name for each in report.dead} == {"deleted"}
    done, cancelled = report.progress.units["done"], report.progress.units["cancelled"]
    assert done >= 13
    # What flew when the run went is a dead letter, and nothing behind it.
    assert cancelled > 0
    assert done + cancelled + len(report.dead) == 110
    assert report.dead
