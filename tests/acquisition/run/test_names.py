"""What a run may be called, and where it may be made."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition import Geometry, RunWriter
from forebay.acquisition.errors import RunExistsError, RunNameError, StorageError
from forebay.acquisition.format.layout import check_run_name

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint8"))


@pytest.mark.parametrize(
    "name", ["a", "2026-11-21/sample_3", "Run.7", "x" * 100, "a/b/c/d/e/f/g/h"]
)
def test_a_plain_name_is_taken(name: str) -> None:
    """Letters, digits, dots, dashes and underscores, in one part or several."""
    assert check_run_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/../b",
        "a/..",
        "/etc/run",
        "a//b",
        "a/",
        ".hidden",
        "a/.hidden",
        "_forebay",
        "-rf",
        "~root",
        "a b",
        "a\\b",
        "a\n",
        "a\x00",
        "\x1b[31m",
        "naïve",
        "run\u202e",
        "x" * 101,
        "a/b/c/d/e/f/g/h/i",
    ],
)
def test_any_other_name_is_refused(name: str) -> None:
    """The message shows the name, with what cannot be printed escaped, and the remedy."""
    with pytest.raises(RunNameError, match="is not a run name: use letters, digits") as caught:
        check_run_name(name)
    assert str(caught.value).isprintable()


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("./-_ab\n"), max_size=12))
def test_no_name_leaves_its_folder(name: str) -> None:
    """Whatever is taken for a name stays below the folder that it is joined to."""
    try:
        check_run_name(name)
    except RunNameError:
        return
    base = Path("/runs")
    assert (base / name).resolve().is_relative_to(base)
    assert (base / name) != base


@pytest.mark.parametrize("name", ["..", ".hidden", "a\nb", "x" * 101])
def test_a_writer_refuses_such_a_folder(tmp_path: Path, name: str) -> None:
    """The writer checks the last part of its path, and makes nothing."""
    with pytest.raises(RunNameError):
        RunWriter.create(tmp_path / "x" / name, GEOMETRY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["folder", "file", "link", "dangling link", "run"])
def test_what_is_there_is_never_replaced(tmp_path: Path, what: str) -> None:
    """A run is made where there is nothing; what is there stays as it is."""
    path, other = tmp_path / "taken", tmp_path / "other"
    if what == "folder":
        path.mkdir()
    elif what == "file":
        path.write_text("kept")
    elif what == "run":
        RunWriter.create(path, GEOMETRY).close()
    else:
        path.symlink_to(other)
        if what == "link":
            other.mkdir()
    before = sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*"))
    with pytest.raises(RunExistsError, match="taken exists already: give the run another name"):
        RunWriter.create(path, GEOMETRY)
    assert sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*")) == before


def test_a_run_is_not_made_inside_another(tmp_path: Path) -> None:
    """A run's folder holds nothing but the run."""
    RunWriter.create(tmp_path / "outer", GEOMETRY).close()
    with pytest.raises(RunExistsError, match=r"inside the run .*outer"):
        RunWriter.create(tmp_path / "outer" / "frames" / "inner", GEOMETRY)


def test_folders_above_a_run_are_made(tmp_path: Path) -> None:
    """A name with several parts needs no folders beforehand, and leaves nothing else there."""
    RunWriter.create(tmp_path / "2026" / "11" / "run", GEOMETRY).close()
    assert [each.name for each in (tmp_path / "2026" / "11").iterdir()] == ["run"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way of the run's folder is an error of the storage."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write the run .*file/run"):
        RunWriter.create(tmp_path / "file" / "run", GEOMETRY)
