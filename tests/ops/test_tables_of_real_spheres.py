"""Operations on tables beside references, at what trackpy has found in real frames of spheres."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import scipy.optimize
import scipy.spatial
import trackpy
from PIL import Image

from forebay.ops import (
    fit_affine,
    gaussian_psf,
    link,
    match_points,
    mean_squared_displacement,
)

DATA = Path(__file__).parents[2] / "examples" / "data"
NEAR = 3.0
"""Pixels that a sphere comes at most from one frame to the next, mostly."""


@pytest.fixture(scope="module")
def spheres() -> pd.DataFrame:
    """Give the places of the spheres in 64 real frames."""
    table = pd.read_csv(DATA / "bulk_water_trackpy.csv")
    frame = table["file"].str.extract(r"(\d+)\.png", expand=False).astype(int)
    return table[["y", "x"]].assign(t=frame)


def places(spheres: pd.DataFrame, frame: int) -> Any:
    """Return the places in one frame."""
    return spheres.loc[spheres.t == frame, ["y", "x"]].to_numpy()


@pytest.mark.parametrize("frame", [0, 20, 40])
def test_spheres_of_two_frames_are_paired_as_by_scipy(spheres: pd.DataFrame, frame: int) -> None:
    """An assignment in which a pair that is too far apart costs more than all others do."""
    now, then = places(spheres, frame), places(spheres, frame + 1)

    found = match_points(now, then, distance=NEAR)

    apart = scipy.spatial.distance.cdist(now, then)
    cost = np.where(apart <= NEAR, apart, NEAR * len(now))
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    paired = apart[rows, columns] <= NEAR
    assert len(found.found) > 30
    np.testing.assert_array_equal(found.found, rows[paired])
    np.testing.assert_array_equal(found.truth, columns[paired])
    np.testing.assert_allclose(found.distance, apart[rows, columns][paired], rtol=1e-12)


def test_how_spheres_move_together_solves_the_normal_equations(spheres: pd.DataFrame) -> None:
    """From pairs of the first two frames: least squares, which diffusion keeps from being exact."""
    now, then = places(spheres, 0), places(spheres, 1)
    pairs = match_points(now, then, distance=NEAR)
    here, there = now[pairs.found], then[pairs.truth]

    found = fit_affine(there, here)

    design = np.column_stack([here, np.ones(len(here))])
    expected = np.linalg.solve(design.T @ design, design.T @ there).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_real_spheres_diffuse_as_by_trackpy(spheres: pd.DataFrame) -> None:
    """The mean square of each track's displacements, also where a sphere is not seen for a frame."""
    trackpy.quiet()
    tracks = link(spheres, search_range=8, memory=2).table
    long = tracks.groupby("track").filter(lambda rows: len(rows) == 64)
    assert long.track.nunique() > 5

    found = mean_squared_displacement(long, max_lag=10, per_track=True)

    theirs = long.rename(columns={"t": "frame", "track": "particle"})
    for number in long.track.unique():
        alone = trackpy.msd(theirs[theirs.particle == number], mpp=1, fps=1, max_lagtime=10)
        np.testing.assert_allclose(found.sel(track=number), alone.msd, rtol=1e-9)


@pytest.mark.parametrize("sigma", [1.0, (2.0, 1.3)])
def test_a_real_frame_blurred_by_the_gaussian_is_scipys(sigma: Any) -> None:
    """A convolution with the point-spread function, and SciPy's own filter."""
    image = Image.open(DATA / "bulk_water" / "bulk_water_000.png")
    frame = np.atleast_3d(np.asarray(image))[:120, :140, 0].astype(float)

    found = scipy.ndimage.convolve(frame, gaussian_psf(sigma=sigma).values, mode="nearest")

    expected = scipy.ndimage.gaussian_filter(frame, sigma, truncate=4.0, mode="nearest")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * frame.max())
