"""Runs are found in a folder, and told where one is asked for that is not there."""

from pathlib import Path

import numpy as np
import pytest

from forebay.acquisition import Geometry, RunWriter, find_runs, open_run
from forebay.acquisition.errors import FolderError, RunNotFoundError


def write(path: Path) -> None:
    RunWriter.create(path, Geometry(("y", "x"), (2, 2), np.dtype("uint8"))).close()


def test_runs_are_found_at_any_depth_and_not_within_each_other(tmp_path: Path) -> None:
    for name in ("b", "a/two", "a/one"):
        write(tmp_path / name)
    (tmp_path / ".trash" / "_forebay").mkdir(parents=True)
    assert list(find_runs(str(tmp_path))) == [tmp_path / name for name in ("a/one", "a/two", "b")]
    assert list(find_runs(tmp_path, depth=1)) == [tmp_path / "b"]


def test_a_damaged_run_hides_no_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
    (tmp_path / "a" / "zarr.json").unlink()
    assert list(find_runs(tmp_path)) == [tmp_path / "a", tmp_path / "b"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="nowhere, cannot be read: No such file"):
        list(find_runs(tmp_path / "nowhere"))


def test_a_folder_of_runs_that_is_opened_tells_of_them(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"water-{number}")
    told = "runs in it: water-0, water-1, water-2, water-3, …;"
    with pytest.raises(RunNotFoundError, match=told):
        open_run(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunNotFoundError, match="has no _forebay/log; check the name"):
        open_run(tmp_path / "empty")
