"""Closing runs whose writer is gone."""

from pathlib import Path

import numpy as np
from tests.cli.conftest import Forebay

import forebay as package
from forebay import ExitCode, open_run


def test_runs_close_ends_a_run_whose_writer_is_gone(forebay: Forebay, tmp_path: Path) -> None:
    geometry = package.Geometry(("y", "x"), (4, 4), np.dtype("uint8"))
    writer = package.RunWriter.create(tmp_path / "left", geometry, frames_per_block=2)
    for counter in range(3):
        writer.append(package.Frame(counter, counter, np.zeros((4, 4), "uint8")))
    writer.abandon()
    assert forebay("runs", "show", "left", "--json").json[0]["state"] == "open, without a writer"
    outcome = forebay("runs", "close", "left")
    assert outcome.code == 0, outcome.err
    assert "closed with 2 frames" in outcome.out
    assert open_run(tmp_path / "left").closed


def test_runs_close_ends_the_run_of_the_frames_as_they_came_with_it(
    forebay: Forebay, tmp_path: Path
) -> None:
    geometry = package.Geometry(("y", "x"), (4, 4), np.dtype("uint8"))
    raw_of = {"raw_of": "left", "every": 2}
    for name, provenance in (("left", {}), ("left.raw", raw_of), ("other", {}), ("other.raw", {})):
        package.RunWriter.create(
            tmp_path / name, geometry, frames_per_block=2, provenance=provenance
        ).abandon()
    for name in ("left", "other"):
        outcome = forebay("runs", "close", name)
        assert outcome.code == 0, outcome.err
    closed = [each.name for each in tmp_path.iterdir() if open_run(each).closed]
    assert sorted(closed) == ["left", "left.raw", "other"]


def test_runs_close_ends_it_also_where_the_other_one_is_closed_already(
    forebay: Forebay, tmp_path: Path
) -> None:
    """The writer died between the ends of the two."""
    geometry = package.Geometry(("y", "x"), (4, 4), np.dtype("uint8"))
    package.RunWriter.create(tmp_path / "left", geometry).close()
    raw_of = {"raw_of": "left", "every": 2}
    package.RunWriter.create(tmp_path / "left.raw", geometry, provenance=raw_of).abandon()
    outcome = forebay("runs", "close", "left")
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip().endswith("left.raw is closed with 0 frames")
    assert open_run(tmp_path / "left.raw").closed
    assert forebay("runs", "close", "left").code == ExitCode.CONFLICT
