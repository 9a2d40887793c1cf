"""Operations on single spots beside float64 references, at the spheres of real frames."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.ndimage
import scipy.optimize
import scipy.stats
import xarray as xr
from PIL import Image

from forebay.ops import align_channels, gaussian_fit, measured_psf, radial_symmetry

DATA = Path(__file__).parents[2] / "examples" / "data"
RADIUS = 6
SPHERES = 12

type Values = npt.NDArray[Any]


@pytest.fixture(scope="module")
def spheres() -> xr.DataArray:
    """Give the surroundings of spheres that trackpy has found, bright on dark, as float64."""
    path = DATA / "bulk_water" / "bulk_water_000.png"
    frame = 255.0 - np.atleast_3d(np.asarray(Image.open(path)))[..., 0]
    found = pd.read_csv(DATA / "bulk_water_trackpy.csv")
    found = found[found.file == path.name].sort_values("signal", ascending=False)
    places = found[["y", "x"]].round().astype(int).to_numpy()
    edge = RADIUS + 2
    inside = [
        frame[y - edge : y + edge + 1, x - edge : x + edge + 1]
        for y, x in places
        if edge <= y < frame.shape[0] - edge and edge <= x < frame.shape[1] - edge
    ]
    return xr.DataArray(np.stack(inside[:SPHERES]), dims=("t", "y", "x"))


def middles() -> pd.DataFrame:
    return pd.DataFrame({"t": np.arange(SPHERES), "y": RADIUS + 2, "x": RADIUS + 2})


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_the_fit_is_the_most_likely_one(spheres: xr.DataArray, dtype: str) -> None:
    """SciPy's minimiser finds nothing likelier near it, though a sphere is no Gaussian."""
    side = 2 * RADIUS + 1

    found: Any = gaussian_fit(spheres.astype(dtype), middles(), radius=RADIUS)

    fitted = found.dropna(subset=["y"])
    assert len(fitted) >= SPHERES // 2
    for row in fitted.itertuples():
        window = spheres.values[row.t, 2:-2, 2:-2]

        def loss(values: Values, window: Values = window) -> float:
            y, x, photons, background, sigma = values
            edges = np.arange(side + 1) - 0.5
            down, across = (np.diff(scipy.stats.norm.cdf(edges, at, sigma)) for at in (y, x))
            mean = photons * np.outer(down, across) + background
            return float((mean - window * np.log(mean)).sum()) if mean.min() > 0 else np.inf

        ours = np.array([row.y - 2, row.x - 2, row.photons, row.background, row.sigma])
        best = scipy.optimize.minimize(
            loss,
            ours * 1.001,
            method="Nelder-Mead",
            options={"xatol": 1e-6, "fatol": 1e-9, "maxfev": 4000},
        )
        assert loss(ours) <= best.fun + 1e-6
        np.testing.assert_allclose(ours[:2], best.x[:2], atol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_radial_symmetry_is_the_point_nearest_to_all_gradients(
    spheres: xr.DataArray, dtype: str
) -> None:
    """Lines along the gradients, and the point that SciPy finds nearest to them."""
    found = radial_symmetry(spheres.astype(dtype), middles(), radius=RADIUS)

    for index, (at_y, at_x) in enumerate(found[["y", "x"]].to_numpy()):
        window = spheres.values[index, 2:-2, 2:-2]
        down = window[1:, :-1] + window[1:, 1:] - window[:-1, :-1] - window[:-1, 1:]
        across = window[:-1, 1:] + window[1:, 1:] - window[:-1, :-1] - window[1:, :-1]
        box = np.full((3, 3), 1 / 9)
        down, across = (
            scipy.ndimage.correlate(each, box, mode="constant") for each in (down, across)
        )
        y, x = np.mgrid[0.5 : 2 * RADIUS, 0.5 : 2 * RADIUS]
        strength = down**2 + across**2
        middle = [(strength * place).sum() / strength.sum() for place in (y, x)]
        weight = np.sqrt(strength / np.hypot(y - middle[0], x - middle[1]))
        length = np.where(strength > 0, np.sqrt(strength), 1)
        rows = np.stack([across / length, -down / length], axis=-1) * weight[..., None]
        sides = (rows * np.stack([y, x], axis=-1)).sum(-1)
        best = np.linalg.lstsq(rows.reshape(-1, 2), sides.ravel(), rcond=None)[0]
        np.testing.assert_allclose([at_y - 2, at_x - 2], best, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_the_mean_sphere_is_scipys(spheres: xr.DataArray, dtype: str, tolerance: float) -> None:
    """Each without the median of its rim, moved to the middle by splines, and their mean."""
    moved = []
    for crop in spheres.values:
        rim = np.concatenate([crop[0], crop[-1], crop[1:-1, 0], crop[1:-1, -1]])
        light = np.maximum(crop - np.median(rim), 0)
        light /= light.sum()
        middle = (np.array(crop.shape) - 1) / 2
        off = middle - scipy.ndimage.center_of_mass(light)
        light = np.maximum(scipy.ndimage.shift(light, off, order=3, mode="constant"), 0)
        moved.append(light / light.sum())
    expected = np.mean(moved, axis=0)

    found = measured_psf(spheres.rename(t="bead").astype(dtype))

    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * expected.max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_channels_come_back_onto_each_other(
    spheres: xr.DataArray, dtype: str, tolerance: float
) -> None:
    """Whatever they were moved by, round the edges, and however bright they are."""
    scene = np.concatenate(np.concatenate(spheres.values.reshape(3, 4, 17, 17), 1), 1) / 255
    other = 0.3 + 2 * np.roll(scene, (3, -5), (0, 1))
    channels = xr.DataArray(np.stack([scene, other]).astype(dtype), dims=("c", "y", "x"))

    found = align_channels(channels, window=None, edge="wrap")

    np.testing.assert_allclose(found[0], scene, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found[1], 0.3 + 2 * scene, rtol=0, atol=2.3 * tolerance)
