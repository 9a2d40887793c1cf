"""How `find_particles` and `trackpy.locate` agree on 64 real frames of diffusing spheres.

The reference was made by trackpy 0.7 (`examples/data/README.md`).  Measured: 3708 of its 3709
features are found within 0.1 px, and 3708 of our 3717 particles are among its features; 3627 agree
to 5e-5 px.  All that differ by more lie at the edge, which the two treat differently.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import trackpy
import xarray as xr
from PIL import Image

from forebay.ops import Matches, find_particles, match_points

DATA = Path(__file__).parents[2] / "examples" / "data"
SEARCH: dict[str, Any] = {"diameter": 11, "minmass": 300, "invert": True}
FAR = 10_000.0  # further apart than any two points of one frame


@pytest.fixture(scope="module")
def frames() -> xr.DataArray:
    """Give the real frames."""
    files = sorted((DATA / "bulk_water").glob("*.png"))
    return xr.DataArray(
        np.stack([np.asarray(Image.open(file)) for file in files]), dims=("t", "y", "x")
    )


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    """Give what trackpy found."""
    table = pd.read_csv(DATA / "bulk_water_trackpy.csv")
    return table.assign(t=table["file"].str.extract(r"(\d+)\.png", expand=False).astype(int))


@pytest.fixture(scope="module")
def found(frames: xr.DataArray) -> pd.DataFrame:
    """Give what we find."""
    table = find_particles(frames, **SEARCH)
    assert isinstance(table, pd.DataFrame)
    return table


def places(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the points of a table, with frames so far apart that none is matched with another."""
    return table[["t", "y", "x"]].to_numpy(np.float64) * [FAR, 1, 1]


def matched(found: pd.DataFrame, reference: pd.DataFrame, distance: float) -> Matches:
    """Return which of one table are which of the other, frame by frame."""
    return match_points(places(found), places(reference), distance=distance)


def from_edge(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return how far each centre is from the nearest outermost pixel."""
    sides = [table.y, 423 - table.y, table.x, 639 - table.x]
    return np.asarray(np.min(sides, axis=0))


def test_what_trackpy_finds_is_found(found: pd.DataFrame, reference: pd.DataFrame) -> None:
    """At least 99.5 % of trackpy's features are found within 0.1 px (99.97 % measured)."""
    assert len(reference) == 3709

    assert len(matched(found, reference, 0.1).found) >= 0.995 * len(reference)


def test_nothing_much_else_is_found(found: pd.DataFrame, reference: pd.DataFrame) -> None:
    """At least 99.5 % of what is found is within 0.1 px of a trackpy feature (99.76 % measured)."""
    assert len(matched(found, reference, 0.1).found) >= 0.995 * len(found)


def test_the_tables_differ_at_the_edge_only(found: pd.DataFrame, reference: pd.DataFrame) -> None:
    """Whatever only one of the two finds within 0.1 px lies within 8 px of the edge."""
    matches = matched(found, reference, 0.1)

    for table, kept in ((found, matches.found), (reference, matches.truth)):
        alone = table[~np.isin(np.arange(len(table)), kept)]
        assert (from_edge(alone) < 8).all()


def test_inside_the_numbers_are_trackpys(found: pd.DataFrame, reference: pd.DataFrame) -> None:
    """Of the features 12 px or more from the edge 99 % have trackpy's centre, mass and size.

    The others hold pixels that float32 puts on the other side of a whole number.  Signals may be one
    step of 255 apart: trackpy's float64 at times leaves the brightest pixel at 254.
    """
    inside = reference[from_edge(reference) >= 12]

    matches = matched(found, inside, 1e-4)

    assert len(matches.found) >= 0.99 * len(inside) > 3000
    ours, theirs = found.iloc[matches.found], inside.iloc[matches.truth]
    for name, tolerance in (("mass", 2e-3), ("size", 2e-3), ("signal", 1 / 250)):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, err_msg=name)


@pytest.mark.filterwarnings("ignore:The inplace keyword", "ignore:The invert argument")
@pytest.mark.parametrize("frame", [0, 32])
def test_the_reference_is_what_trackpy_finds(
    frames: xr.DataArray, reference: pd.DataFrame, frame: int
) -> None:
    """The table in the repository is what the installed trackpy finds in these frames."""
    trackpy.quiet()

    located = trackpy.locate(frames[frame].values, **SEARCH).sort_values(["y", "x"])

    expected = reference[reference.t == frame].sort_values(["y", "x"])
    for name in ("y", "x", "mass"):
        np.testing.assert_allclose(located[name], expected[name], atol=2e-5)
