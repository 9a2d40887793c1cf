"""Runs are found in a folder, and told where one is asked for that is not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forebay
from forebay.acquisition import Geometry, Run, RunWriter, find_runs, open_run
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


@pytest.mark.parametrize("location", [7, None, b"water", ["water"]])
@pytest.mark.parametrize("opening", [open_run, forebay.open_run], ids=["folder", "url"])
def test_what_names_no_place_is_told(opening: Callable[[Any], Run], location: object) -> None:
    """Not by an error of Python's own, which does not say what is to be given."""
    with pytest.raises(RunNotFoundError, match="is no place of a run: give its folder"):
        opening(location)


@pytest.mark.parametrize("opening", [open_run, forebay.open_run], ids=["folder", "url"])
def test_a_name_that_no_folder_can_have_is_no_run(
    opening: Callable[[Any], Run], tmp_path: Path
) -> None:
    """The system will not even look for it."""
    with pytest.raises(RunNotFoundError, match="File name too long"):
        opening(tmp_path / ("water" * 100))
