"""How `find_particles` fares where the truth is known: simulated emitters, photon by photon.

A particle counts if the nearest other one is two diameters away and its mask is inside the frame:
those that overlap are the task's difficulty, not the detector's.  Measured with 20 frames of 40
emitters, σ = 1.5 px, 20 background photons a pixel, read noise 1.5: recall and precision 1.000 from
500 photons on; position error over the Cramér–Rao bound 1.12 at 500 photons, 1.00 at 2000, 1.10
at 5000 and 1.29 at 20 000, where the finite mask begins to show.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial import cKDTree
from scipy.special import ndtr

from forebay.acquisition.sources.simulated.scene import Scene
from forebay.acquisition.sources.simulated.source import SimulatedSource
from forebay.ops import find_particles, match_points

DIAMETER = 9
SIDE, SIGMA, BACKGROUND, READ_NOISE = 256, 1.5, 20.0, 1.5


class Score(NamedTuple):
    """What is found of the truth."""

    recall: float
    """Isolated particles found, as a part of all isolated ones."""
    precision: float
    """Rows that are a particle, as a part of all rows."""
    error: float
    """Root mean square error of y and x, pixels."""
    bias: float
    """Largest mean error of y or x, pixels."""
    isolated: int
    """Particles that the recall and the error are over."""


@functools.cache
def simulated(photons: float) -> tuple[npt.NDArray[Any], pd.DataFrame]:
    """Return 20 simulated frames and where their emitters are."""
    scene = Scene(
        shape=(SIDE, SIDE),
        emitters=40,
        photons=photons,
        sigma=SIGMA,
        background=BACKGROUND,
        read_noise=READ_NOISE,
        diffusion=4.0,
        seed=3,
    )
    with SimulatedSource(scene, frames=20) as source:
        return np.stack([frame.data for frame in source.frames()]), source.truth()


@functools.cache
def score(photons: float, dtype: str = "uint16") -> Score:
    """Find the particles of 20 simulated frames and compare them with the truth."""
    values, truth = simulated(photons)
    frames = xr.DataArray(values.astype(dtype), dims=("frame_id", "y", "x"))
    found = find_particles(frames, diameter=DIAMETER, minmass=0.3 * photons)
    assert isinstance(found, pd.DataFrame)
    there, here = (
        table[["frame_id", "y", "x"]].to_numpy(np.float64) * [1e4, 1, 1] for table in (truth, found)
    )
    matches = match_points(here, there, distance=2)
    isolated = cKDTree(there).query(there, k=2)[0][:, 1] > 2 * DIAMETER
    isolated &= ((there[:, 1:] > DIAMETER) & (there[:, 1:] < SIDE - 1 - DIAMETER)).all(axis=1)
    known = isolated[matches.truth]
    off = (here[matches.found] - there[matches.truth])[known, 1:]
    return Score(
        recall=float(known.sum() / isolated.sum()),
        precision=len(matches.found) / len(found),
        error=float(np.sqrt((off**2).mean())),
        bias=float(abs(off.mean(axis=0)).max()),
        isolated=int(isolated.sum()),
    )


@functools.cache
def photon_limit(photons: float) -> float:
    """Return the Cramér–Rao bound on the standard error of y or x, pixels.

    The noise of a pixel that expects m photons is taken as Poisson of m + read_noise², as in Huang
    et al., Nature Methods 10, 653 (2013); the Fisher information is then
    Σ (∂m/∂y)² / (m + read_noise²), here averaged over places within a pixel.
    """
    edges = np.arange(-15, 16) - 0.5
    bounds = []
    for place in np.linspace(-0.5, 0.5, 11):

        def fractions(centre: float) -> npt.NDArray[np.float64]:
            return np.asarray(np.diff(ndtr((edges - centre) / SIGMA)))

        slope = photons * np.outer(
            (fractions(place + 1e-4) - fractions(place - 1e-4)) / 2e-4, fractions(0)
        )
        expected = photons * np.outer(fractions(place), fractions(0)) + BACKGROUND
        bounds.append(1 / (slope**2 / (expected + READ_NOISE**2)).sum())
    return float(np.sqrt(np.mean(bounds)))


@pytest.mark.parametrize("photons", [500, 1000, 2000, 5000, 20_000])
def test_bright_particles_are_found_and_nothing_else(photons: float) -> None:
    """From 500 photons on at least 99 % are found, and 99 % of what is found is a particle."""
    result = score(photons)

    assert result.isolated > 300
    assert result.recall >= 0.99
    assert result.precision >= 0.99


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize(
    ("photons", "factor"), [(500, 1.25), (1000, 1.25), (2000, 1.25), (5000, 1.25), (20_000, 1.5)]
)
def test_positions_are_near_the_photon_limit(photons: float, factor: float, dtype: str) -> None:
    """The position error is near the Cramér–Rao bound, below which no unbiased estimate can go."""
    result, limit = score(photons, dtype), photon_limit(photons)

    # 700 errors or so: their root mean square is known to about 3 %.
    assert 0.9 * limit < result.error < factor * limit
    assert result.bias < 4 * limit / np.sqrt(result.isolated)


def test_the_limit_is_the_textbooks_without_background() -> None:
    """For many photons and no background the bound is σ / √N, with σ widened by the pixel."""
    assert photon_limit(1e9) == pytest.approx(np.sqrt((SIGMA**2 + 1 / 12) / 1e9), rel=0.02)


def test_the_error_falls_as_photons_grow() -> None:
    """Four times the photons give at most two thirds of the error."""
    errors = [score(photons).error for photons in (500, 2000, 8000)]

    assert errors[1] < 0.67 * errors[0]
    assert errors[2] < 0.67 * errors[1]


def test_dim_particles_are_missed_not_invented() -> None:
    """At 100 photons, lost in the noise, a search that asks for 300 counts finds nothing."""
    scene = Scene(shape=(128, 128), emitters=20, photons=100, seed=1)
    frames = xr.DataArray(np.stack([scene.image(k) for k in range(5)]), dims=("frame_id", "y", "x"))

    assert len(find_particles(frames, diameter=DIAMETER, minmass=300)) == 0
