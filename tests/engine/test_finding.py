"""Results of a run are found without knowing what their folders are called."""

from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.acquisition import Run
from forebay.engine import algorithm, find_results, open_result, process, reprocess, submit


@algorithm("shifted", version="1.0.0")
def shifted(frames: xr.DataArray, *, by: int = 0) -> xr.DataArray:
    return frames.mean(("y", "x")) + by


def test_results_of_a_run_are_found_and_told_apart(write_run: WriteRun, tmp_path: Path) -> None:
    """Those of another run of the same name are not among them."""
    run, other = write_run(), write_run("monday/run")
    assert list(find_results(run)) == []
    made = [process(run, shifted, by=by) for by in (1, 2)]
    process(other, shifted, results=tmp_path / "results")
    found = [open_result(path) for path in find_results(run)]
    assert {repr(each) for each in found} == {repr(each) for each in made}
    assert "shifted-1.0.0(by=2) over run, 10 frames" in repr(made[1])
    assert len(list(find_results(other))) == 1
    assert list(find_results(run, tmp_path / "nowhere")) == []


@pytest.fixture
def deep(write_run: WriteRun) -> Run:
    """A run that is called ``beads/001`` since it was recorded."""
    run = write_run("beads/001")
    return replace(run, layout=replace(run.layout, name="beads/001"))


def usual(tmp_path: Path) -> Path:
    return tmp_path / "results" / "beads" / "001"


def test_a_run_that_lies_deeper_has_its_results_in_one_place(deep: Run, tmp_path: Path) -> None:
    """Whichever call computes them: the second and the third have nothing left to do."""
    made = process(deep, shifted)
    assert made.path.parent == usual(tmp_path)
    again = reprocess([deep], shifted)
    assert (again.results, again.computed) == ((made.path,), 0)
    assert submit(deep, shifted).ledger == tmp_path / "results" / "ledger.sqlite"
    assert list(find_results(deep)) == [made.path]


def test_what_was_begun_beside_a_run_is_gone_on_with_there(deep: Run, tmp_path: Path) -> None:
    """Results went there before; what is new of the run goes into the folder of all results."""
    before = process(deep, shifted, results=tmp_path / "beads" / "results")
    again = process(deep, shifted)
    assert (again.path, again.computed) == (before.path, 0)
    other = process(deep, shifted, by=3)
    assert other.path.parent == usual(tmp_path)
    assert {*find_results(deep)} == {before.path, other.path}
