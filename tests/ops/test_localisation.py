"""Where spots are: `centroid`, `radial_symmetry`, `gaussian_fit`."""

from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.ndimage
import scipy.optimize
import scipy.stats
import xarray as xr

from forebay.ops import (
    OperationError,
    centroid,
    find_particles,
    gaussian_fit,
    radial_symmetry,
)
from forebay.ops.localisation import likelihood
from forebay.ops.localisation.centroid import disk_centroid
from forebay.ops.localisation.radial import symmetry

type Values = npt.NDArray[Any]

METHODS: dict[str, Any] = {
    "centroid": lambda frames, positions: centroid(frames, positions, radius=4),
    "radial_symmetry": lambda frames, positions: radial_symmetry(frames, positions, radius=4),
    "gaussian_fit": lambda frames, positions: gaussian_fit(frames, positions, radius=4),
}
each = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def expected_photons(
    y: float, x: float, photons: float, background: float, sigma: float, side: int
) -> Values:
    """Return the mean of each pixel of a square: a Gaussian integrated over pixels."""
    edges = np.arange(side + 1) - 0.5
    down, across = (np.diff(scipy.stats.norm.cdf(edges, centre, sigma)) for centre in (y, x))
    mean: Values = photons * np.outer(down, across) + background
    return mean


photons_of: Any = expected_photons


def many_spots(
    rng: np.random.Generator, count: int, *, photons: float, background: float, sigma: float
) -> tuple[xr.DataArray, pd.DataFrame, Values]:
    """Return frames of one spot each, whole pixels to start from, and the true places."""
    truth = 7 + rng.uniform(-0.5, 0.5, (count, 2))
    mean = [expected_photons(y, x, photons, background, sigma, 15) for y, x in truth]
    frames = xr.DataArray(rng.poisson(mean), dims=("t", "y", "x"))
    start = pd.DataFrame({"t": np.arange(count), "y": 7, "x": 7})
    return frames, start, truth


def bound(photons: float, background: float, sigma: float, *, free: int, side: int) -> Values:
    """Return the Cramér-Rao bound of each parameter, from differences of the model."""
    at = np.array([side / 2 - 0.7, side / 2 - 0.4, photons, background, sigma])
    slopes = []
    for index in range(free):
        step = np.zeros(5)
        step[index] = 1e-5 * max(at[index], 1)
        up, down = (photons_of(*(at + sign * step).tolist(), side=side) for sign in (1, -1))
        slopes.append((up - down) / (2 * step[index]))
    mean = photons_of(*at.tolist(), side=side)
    fisher = [[(one * other / mean).sum() for one in slopes] for other in slopes]
    lowest: Values = np.sqrt(np.diag(np.linalg.inv(fisher)))
    return lowest


@pytest.mark.parametrize(("photons", "background", "fixed"), [(300, 2, True), (2000, 5, False)])
def test_the_fit_reaches_the_bound(
    rng: np.random.Generator, photons: float, background: float, fixed: bool
) -> None:
    """Errors of 600 fits vary as the bound says, within 10 %, without bias; so do the columns."""
    frames, start, truth = many_spots(rng, 600, photons=photons, background=background, sigma=1.3)

    found: Any = gaussian_fit(frames, start, radius=6, sigma=1.3 if fixed else None)

    assert found.y.notna().all()
    names = ["y", "x", "photons", "background", "sigma"][: 4 if fixed else 5]
    lowest = bound(photons, background, 1.3, free=len(names), side=13)
    true = dict(zip(names, [*truth.T, photons, background, 1.3], strict=False))
    for name, limit in zip(names, lowest, strict=True):
        error = found[name] - true[name]
        # A standard deviation of 600 samples is itself known to 3 %.
        assert error.std() == pytest.approx(limit, rel=0.1), name
        assert abs(error.mean()) < 4 * limit / np.sqrt(600) + 0.02 * limit, name
        assert found[f"{name}_error"].median() == pytest.approx(limit, rel=0.05), name
    # Of Poisson deviates of small means the deviance is somewhat more than its degrees of freedom.
    assert found.deviance.mean() == pytest.approx(169 - len(names), rel=0.2)


def test_the_fit_is_the_most_likely_one(rng: np.random.Generator) -> None:
    """SciPy's minimiser finds no likelier parameters, and the same to 1e-4 of their bounds."""
    frames, start, _ = many_spots(rng, 2, photons=800, background=5, sigma=1.4)

    found: Any = gaussian_fit(frames, start, radius=5)

    for row, frame in zip(found.itertuples(), frames.values, strict=True):
        window = frame[2:13, 2:13]

        def loss(values: Values, window: Values = window) -> float:
            mean = photons_of(*values.tolist(), side=11)
            return float((mean - window * np.log(mean)).sum())

        ours = np.array([row.y - 2, row.x - 2, row.photons, row.background, row.sigma])
        best = scipy.optimize.minimize(
            loss,
            ours * 1.01,
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-10, "maxfev": 4000},
        )
        errors = [row.y_error, row.x_error, row.photons_error, row.background_error]
        assert loss(ours) <= best.fun + 1e-8
        np.testing.assert_allclose((ours - best.x)[:4] / errors, 0, atol=2e-3)
        perfect = (window - scipy.special.xlogy(window, window)).sum()
        assert row.deviance == pytest.approx(2 * (loss(ours) - perfect))


def test_gain_offset_and_read_noise_are_those_of_the_camera(rng: np.random.Generator) -> None:
    """Counts of a camera give photons; read noise widens the bound, and fits reach it."""
    photons, start, truth = many_spots(rng, 600, photons=500, background=2, sigma=1.3)
    counts = (photons + rng.normal(0, 3, photons.shape)) / 0.5 + 100

    found: Any = gaussian_fit(
        counts, start, radius=6, sigma=1.3, gain=0.5, offset=100, read_noise=3
    )

    assert found.photons.mean() == pytest.approx(500, rel=0.02)
    assert found.background.mean() == pytest.approx(2, abs=0.1)
    lowest = bound(500, 2 + 9, 1.3, free=4, side=13)
    for index, name in enumerate(("y", "x")):
        assert (found[name] - truth[:, index]).std() == pytest.approx(lowest[index], rel=0.1)
        assert found[f"{name}_error"].median() == pytest.approx(lowest[index], rel=0.05)


def test_radial_symmetry_is_the_point_nearest_to_all_gradients(rng: np.random.Generator) -> None:
    """A loop over lines, solved by SciPy, gives the same point to 1e-8 px."""
    windows = np.stack(
        [expected_photons(4.3, 3.8, 900, 5, 1.5, 9), expected_photons(3.6, 4.4, 300, 20, 2.0, 9)]
    )
    windows = rng.poisson(windows).astype(float)

    found = symmetry(windows)

    for index, window in enumerate(windows):
        down = window[1:, :-1] + window[1:, 1:] - window[:-1, :-1] - window[:-1, 1:]
        across = window[:-1, 1:] + window[1:, 1:] - window[:-1, :-1] - window[1:, :-1]
        box = np.full((3, 3), 1 / 9)
        down, across = (
            scipy.ndimage.correlate(gradient, box, mode="constant") for gradient in (down, across)
        )
        y, x = np.mgrid[-3.5:4, -3.5:4]
        strength = down**2 + across**2
        middle = [(strength * place).sum() / strength.sum() for place in (y, x)]
        weight = strength / np.hypot(y - middle[0], x - middle[1])

        def residuals(
            centre: Values,
            y: Values = y,
            x: Values = x,
            down: Values = down,
            across: Values = across,
            weight: Values = weight,
        ) -> Values:
            apart = ((centre[0] - y) * across - (centre[1] - x) * down) / np.hypot(down, across)
            weighted: Values = (np.sqrt(weight) * apart).ravel()
            return weighted

        best = scipy.optimize.least_squares(residuals, [0, 0], xtol=1e-14, gtol=1e-14).x
        np.testing.assert_allclose([found["y"][index], found["x"][index]], best, atol=1e-8)


def test_radial_symmetry_is_nearly_as_good_as_the_fit(rng: np.random.Generator) -> None:
    """Bright spots are found with at most a third more error than the bound, without bias."""
    frames, start, truth = many_spots(rng, 600, photons=3000, background=2, sigma=1.5)

    found: Any = radial_symmetry(frames, start, radius=4)

    lowest = bound(3000, 2, 1.5, free=4, side=9)
    for index, name in enumerate(("y", "x")):
        error = found[name] - truth[:, index]
        assert lowest[index] < error.std() < 1.35 * lowest[index]
        assert abs(error.mean()) < 0.1 * lowest[index]


def test_the_centroid_is_scipys_over_a_disk(rng: np.random.Generator) -> None:
    """Centre, mass and size are those of the pixels above the ground, within the radius."""
    windows = rng.uniform(10, 50, (5, 9, 9))

    found = disk_centroid(windows, background=None)
    given = disk_centroid(windows, background=12.0)

    y, x = np.mgrid[-4:5, -4:5]
    rim = np.maximum(abs(y), abs(x)) == 4
    for index, window in enumerate(windows):
        for result, ground in ((found, np.median(window[rim])), (given, 12.0)):
            light = np.where(np.hypot(y, x) <= 4, (window - ground).clip(0), 0)
            centre = np.array(scipy.ndimage.center_of_mass(light)) - 4
            np.testing.assert_allclose([result["y"][index], result["x"][index]], centre)
            assert result["mass"][index] == pytest.approx(light.sum())
            size = np.sqrt((light * (y**2 + x**2)).sum() / light.sum())
            assert result["size"][index] == pytest.approx(size)


def scene(rng: np.random.Generator) -> tuple[xr.DataArray, Values]:
    """Return four frames of spots, with times, and where the spots are."""
    truth = [(t, y, x) for t in range(4) for y in (15, 33) for x in (15, 33, 51)]
    places = np.array(truth) + np.c_[np.zeros(24), rng.uniform(-1, 1, (24, 2))]
    frames = np.full((4, 48, 66), 3.0)
    edges = [np.arange(49) - 0.5, np.arange(67) - 0.5]
    for t, y, x in places:
        down, across = (
            np.diff(scipy.stats.norm.cdf(edge, centre, 1.4))
            for edge, centre in zip(edges, (y, x), strict=True)
        )
        frames[int(t)] += 2000 * np.outer(down, across)
    coords = {"t": [0.5, 1.0, 1.5, 2.0]}
    values = rng.poisson(frames).astype(np.uint16)
    return xr.DataArray(values, dims=("t", "y", "x"), coords=coords), places


@each
def test_found_particles_are_refined(method: Any, rng: np.random.Generator) -> None:
    """Rows of `find_particles` keep their order, index and columns, and move to the true place."""
    frames, truth = scene(rng)
    particles: Any = find_particles(frames, diameter=9, minmass=500)
    particles = particles.set_index(np.arange(100, 100 + len(particles)))

    found = method(frames, particles)

    assert list(found.columns[: particles.shape[1]]) == list(particles.columns)
    assert found.index.equals(particles.index)
    assert found.eccentricity.equals(particles.eccentricity)
    assert len(found) == len(truth)
    for t, y, x in truth:
        near = found[found.t == 0.5 + 0.5 * t]
        assert np.hypot(near.y - y, near.x - x).min() < 0.2


@each
def test_lazily_it_is_the_same_table(method: Any, rng: np.random.Generator) -> None:
    """Nothing is computed while the graph is built, from pandas or from Dask tables."""
    frames, _ = scene(rng)
    cut = frames.chunk({"t": (1, 3)})
    particles: Any = find_particles(frames, diameter=9, minmass=500)
    shuffled = particles.sample(frac=1, random_state=1)
    eager = method(frames, particles)

    def no_scheduler(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed while the graph was built")

    with dask.config.set(scheduler=no_scheduler):
        from_pandas = method(cut, shuffled)
        from_dask = method(cut, find_particles(cut, diameter=9, minmass=500))

    assert from_pandas.npartitions == from_dask.npartitions == 2
    pd.testing.assert_frame_equal(from_pandas.compute().sort_index(), eager, rtol=1e-12)
    chained = from_dask.compute().reset_index(drop=True)
    pd.testing.assert_frame_equal(chained, eager, rtol=1e-12)
    assert from_pandas._meta.dtypes.equals(eager.dtypes)


@each
def test_what_cannot_be_refined_is_nan(method: Any, rng: np.random.Generator) -> None:
    """Rows whose square leaves the frame, holds a NaN or nothing have no place; others have."""
    frames, truth = scene(rng)
    values = frames.astype("float32").values
    values[0, int(truth[1][1]), int(truth[1][2])] = np.nan
    values[1] = np.nan
    at = truth[[0, 1, 6, 0, 0]].copy()
    at[3, 1:] = 3, 20
    at[4, 1] = np.nan
    positions = pd.DataFrame(at, columns=["t", "y", "x"])

    found = method(xr.DataArray(values, dims=("t", "y", "x")), positions)

    assert found.y.isna().tolist() == [False, True, True, True, True]
    assert found.x.isna().tolist() == [False, True, True, True, True]
    assert len(method(frames.drop_vars("t"), positions[:0])) == 0
    if "gaussian" not in str(method.__code__.co_names):
        even = method(frames[0].drop_vars("t") * 0 + 7, pd.DataFrame({"y": [20], "x": [20]}))
        assert even.y.isna().all()


def test_spots_are_the_same_in_each_library(chunk_library: Any, rng: np.random.Generator) -> None:
    """Frames in any library give the table that NumPy gives, on the host."""
    frames, truth = scene(rng)
    positions = pd.DataFrame(truth, columns=["t", "y", "x"])
    positions["t"] = frames.t.values[positions["t"].astype(int)]
    on_device = frames.copy(data=chunk_library.array(frames.values))

    for method in METHODS.values():
        pd.testing.assert_frame_equal(
            method(on_device, positions), method(frames, positions), rtol=1e-6
        )


@pytest.mark.parametrize("function", [symmetry, disk_centroid])
def test_block_functions_use_what_every_library_has(
    xp: Any, rng: np.random.Generator, function: Any
) -> None:
    """Strict arrays on a device of their own give what NumPy gives."""
    windows = rng.uniform(0, 9, (3, 7, 7))
    options = {"background": None} if function is disk_centroid else {}

    found = function(xp.array(windows), **options)

    for name, values in function(windows, **options).items():
        np.testing.assert_allclose(xp.host(found[name]), values, rtol=1e-9)


def test_a_fit_that_does_not_converge_gives_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a single step allowed no place is given."""
    monkeypatch.setattr(likelihood, "STEPS", 1)
    frames, start, _ = many_spots(rng, 3, photons=500, background=2, sigma=1.3)

    found: Any = gaussian_fit(frames, start, radius=5)

    assert found[["y", "x", "photons", "y_error", "deviance"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0}, "radius is 0"),
        ({"radius": 40}, "radius=40 needs at least 81"),
        ({"gain": 0}, "gain is 0"),
        ({"sigma": 0}, "sigma is 0"),
        ({"read_noise": -1}, "read_noise is -1"),
        ({"positions": pd.DataFrame({"t": [0], "y": [9]})}, "but 'x' is needed"),
        ({"positions": pd.DataFrame({"t": [99.0], "y": [9], "x": [9]})}, "has no such 't'"),
        ({"positions": np.zeros((3, 2))}, "positions is a ndarray"),
    ],
)
def test_what_cannot_be_localised_is_refused(
    rng: np.random.Generator, change: dict[str, Any], message: str
) -> None:
    """A parameter or table that does not fit is named in the error."""
    frames, _ = scene(rng)
    given: dict[str, Any] = {
        "positions": pd.DataFrame({"t": [0.5], "y": [9], "x": [9]}),
        "radius": 4,
        **change,
    }
    for each_frames in (frames, frames.chunk({"t": 1})):
        with pytest.raises(OperationError, match=message):
            gaussian_fit(each_frames, **given)


def test_tables_and_frames_must_be_cut_alike(rng: np.random.Generator) -> None:
    """A Dask table of other partitions, or with eager frames, is refused with the way out."""
    frames, _ = scene(rng)
    table = find_particles(frames.chunk({"t": 2}), diameter=9, minmass=500)

    with pytest.raises(OperationError, match="has 2 partitions, but frames has 4 chunks"):
        centroid(frames.chunk({"t": 1}), table, radius=4)
    with pytest.raises(OperationError, match=r"use positions\.compute"):
        centroid(frames, table, radius=4)
    twice = frames.assign_coords(t=[0, 0, 1, 2])
    with pytest.raises(OperationError, match="same value more than once"):
        centroid(twice, pd.DataFrame({"t": [0], "y": [9], "x": [9]}), radius=4)
