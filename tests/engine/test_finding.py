"""Results of a run are found without knowing what their folders are called."""

from pathlib import Path

import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.engine import algorithm, find_results, open_result, process


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
