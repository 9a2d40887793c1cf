"""What makes frames even: `correct_photobleaching`, `remove_fixed_pattern`, `estimate_illumination`."""

from typing import Any

import dask.array
import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import skimage.exposure
import xarray as xr

from forebay.ops import (
    OperationError,
    correct_photobleaching,
    estimate_illumination,
    flat_field,
    remove_fixed_pattern,
)
from forebay.ops.correction.fixed_pattern import levelled
from forebay.ops.correction.illumination import fitted_polynomial
from forebay.ops.correction.photobleaching import decay, fitted_decay, ranked_as_first

DIMS = ("t", "y", "x")


@pytest.fixture
def scene(rng: np.random.Generator) -> xr.DataArray:
    """Give a bright scene that does not change."""
    image = 200 + scipy.ndimage.gaussian_filter(rng.normal(0, 500, (20, 24)), 2)
    return xr.DataArray(image, dims=("y", "x"))


def fading(scene: xr.DataArray, tau: float, count: int = 40) -> xr.DataArray:
    """Return the scene, fading to nothing with a time constant."""
    gone = xr.DataArray(np.exp(-np.arange(count) / tau), dims="t")
    return (scene * gone).transpose(*DIMS)


@pytest.mark.parametrize("method", ["exponential", "ratio", "histogram"])
def test_what_fades_stays_as_bright_as_it_was(scene: xr.DataArray, method: Any) -> None:
    """Every frame of a fading scene becomes the first one."""
    result = correct_photobleaching(fading(scene, 15), method=method)

    np.testing.assert_allclose(result, scene.expand_dims(t=40), rtol=1e-5)


def test_what_the_scene_does_stays(scene: xr.DataArray) -> None:
    """The exponential leaves a flash in the frames, which the ratio takes out."""
    frames = fading(scene, 25)
    frames[20] *= 1.2

    fitted = correct_photobleaching(frames).mean(("y", "x"))
    ratio = correct_photobleaching(frames, method="ratio").mean(("y", "x"))

    assert float(fitted[20] / fitted[19]) == pytest.approx(1.2, rel=0.01)
    assert float(ratio[20] / ratio[19]) == pytest.approx(1)


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.7])
def test_the_fit_is_scipys(rng: np.random.Generator, rate: float) -> None:
    """Noisy decays have the least squares that scipy finds from the true parameters."""
    place = np.arange(50)
    series = 300 * np.exp(-rate * place) + 80 + rng.normal(0, 3, 50)

    def curve(n: Any, a: float, r: float, c: float) -> Any:
        return a * np.exp(-r * n) + c

    found, _ = scipy.optimize.curve_fit(curve, place, series, p0=(300, rate, 80), maxfev=20_000)

    np.testing.assert_allclose(decay(series), curve(place, *found), atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_mean_that_does_not_change_is_left_alone(level: float) -> None:
    """A constant has itself as its fit."""
    np.testing.assert_allclose(decay(np.full(9, level)), level)


def test_histograms_match_as_in_scikit_image(frames: xr.DataArray) -> None:
    """Without equal values, each frame has the pixels that scikit-image gives it."""
    values = frames.values + np.random.default_rng(1).random(frames.shape)
    expected = np.stack([skimage.exposure.match_histograms(f, values[0]) for f in values])

    result = correct_photobleaching(frames.copy(data=values), method="histogram")

    np.testing.assert_allclose(result, expected)


@pytest.mark.parametrize("method", ["exponential", "ratio", "histogram"])
@pytest.mark.parametrize("chunks", [{"t": 7}, {"t": 3, "y": 9, "x": (5, 19)}])
def test_lazy_bleaching_is_eager(scene: xr.DataArray, method: Any, chunks: dict[str, Any]) -> None:
    """Chunks through time and space change nothing but the order of sums."""
    frames = fading(scene, 15)

    lazy = correct_photobleaching(frames.chunk(chunks), method=method)

    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, correct_photobleaching(frames, method=method), rtol=1e-9)


def test_no_chunk_is_held_until_the_exponential_is_known() -> None:
    """Each is made for its means, and again for the result once all means are there."""
    made: list[int] = []

    def faded(block: Any, block_id: tuple[int, ...] = ()) -> Any:
        made.append(block_id[0])
        return block * np.exp(-block_id[0]) + 1

    ones = dask.array.ones((12, 4, 5), chunks=(2, 4, 5), dtype="float32")
    blocks = ones.map_blocks(faded, dtype="float32", meta=np.empty((0, 0, 0), "float32"))
    result = correct_photobleaching(xr.DataArray(blocks, dims=DIMS), method="exponential")
    made.clear()

    result.compute(scheduler="sync")

    assert sorted(made[:6]) == sorted(made[6:]) == [0, 1, 2, 3, 4, 5]


def test_channels_fade_on_their_own(scene: xr.DataArray) -> None:
    """Each leading dimension has its own curve."""
    both = xr.concat([fading(scene, 10), fading(scene, 30)], "channel")

    result = correct_photobleaching(both)

    assert result.dims == both.dims
    np.testing.assert_allclose(result[1, 25], scene, rtol=1e-4)
    np.testing.assert_allclose(result[0, 25], scene, rtol=1e-4)


def test_frames_without_light_cannot_be_corrected(scene: xr.DataArray) -> None:
    """A frame with a mean of zero or NaN is NaN; with the ratio the others are not."""
    frames = fading(scene, 15)
    frames[3] = 0
    frames[5, 2, 2] = np.nan

    ratio = correct_photobleaching(frames, method="ratio")
    fitted = correct_photobleaching(frames)
    ranked = correct_photobleaching(frames, method="histogram")

    assert np.isnan(ratio.values).all((1, 2)).nonzero()[0].tolist() == [3, 5]
    assert np.isnan(fitted).all()
    assert np.isnan(ranked.values).all((1, 2)).nonzero()[0].tolist() == [5]


def test_shifted_rows_and_columns_are_set_right(
    scene: xr.DataArray, rng: np.random.Generator
) -> None:
    """Offsets of rows and columns, new in each frame, go; what is left is the noise."""
    clean = scene.expand_dims(t=3) * 0 + 100 + rng.normal(0, 1, (3, 20, 24))
    shifted = clean + rng.normal(0, 20, (3, 20, 1)) + rng.normal(0, 20, (3, 1, 24))

    result = remove_fixed_pattern(shifted)

    assert float(shifted.std(("y", "x")).min()) > 20
    assert float(result.std(("y", "x")).max()) < 1.5


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_the_shifts_are_the_written_out_medians(
    frames: xr.DataArray, along: Any, window: int | None
) -> None:
    """A row goes by its median less the median of those, over all rows or over a window."""
    axis = 2 if along == "rows" else 1
    levels = np.median(frames.values.astype(float), axis=axis, keepdims=True)
    if window is None:
        usual = np.median(levels, axis=3 - axis, keepdims=True)
    else:
        size = (1, window, 1) if along == "rows" else (1, 1, window)
        usual = scipy.ndimage.median_filter(levels, size, mode="nearest")
    expected = frames.values - levels + usual

    double = remove_fixed_pattern(frames.astype(float), along=along, window=window)

    np.testing.assert_allclose(double, expected, atol=1e-9)
    np.testing.assert_allclose(
        remove_fixed_pattern(frames.chunk({"t": 2, "y": 7}), along=along, window=window),
        expected,
        atol=1e-6 * 4000,
    )


def test_a_window_keeps_a_slope(rng: np.random.Generator) -> None:
    """A light that changes slowly over the rows stays; a shifted row in it goes."""
    slope = 100 + 2 * np.arange(40.0)[:, None] * np.ones((1, 30))
    frames = xr.DataArray(slope + rng.normal(0, 0.1, slope.shape), dims=("y", "x"))
    shifted = frames.copy()
    shifted[17] += 50

    result = remove_fixed_pattern(shifted, along="rows", window=9)

    np.testing.assert_allclose(result[6:-6], frames[6:-6], atol=3)


def test_a_nan_stays_in_its_pixel(frames: xr.DataArray) -> None:
    """Neither a NaN pixel nor a row of them changes what becomes of the others much."""
    noisy = frames.astype("float64")
    noisy[1, 4, 5] = np.nan
    noisy[2, 7] = np.nan

    for window in (None, 5):
        result = remove_fixed_pattern(noisy, window=window)
        np.testing.assert_array_equal(np.isnan(result), np.isnan(noisy))


@pytest.mark.parametrize("degree", [0, 1, 2, 4])
def test_the_polynomial_is_numpys_least_squares(frames: xr.DataArray, degree: int) -> None:
    """The fit of the mean frame is what numpy finds for all powers up to the degree together."""
    mean = frames.values.mean(0)
    y, x = np.mgrid[-1:1:30j, -1:1:41j]
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    matrix = np.stack([(y**i * x**j).ravel() for i, j in powers], axis=1)
    expected = (matrix @ np.linalg.lstsq(matrix, mean.ravel())[0]).reshape(mean.shape)

    result = estimate_illumination(frames.astype(float), degree=degree)

    assert result.dims == ("y", "x")
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    np.testing.assert_allclose(estimate_illumination(frames, degree=degree), expected, rtol=1e-5)


def test_the_blurred_average_is_scipys(frames: xr.DataArray) -> None:
    """With sigma it is the average frame through a Gaussian."""
    median = np.median(frames.values, axis=0)
    expected = scipy.ndimage.gaussian_filter(median, 3, mode="nearest")

    result = estimate_illumination(frames, sigma=3, average="median")

    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_a_vignette_goes_from_what_moves_in_it(rng: np.random.Generator) -> None:
    """Spots all over the field, dimmer at the edges, are as bright everywhere after `flat_field`."""
    y, x = np.mgrid[-1:1:48j, -1:1:64j]
    light = 1 - 0.3 * (y**2 + x**2)
    spots = scipy.ndimage.gaussian_filter(rng.random((200, 48, 64)) > 0.98, (0, 2, 2), output=float)
    frames = xr.DataArray((spots * 3000 + 50) * light, dims=DIMS)

    flat = estimate_illumination(frames, degree=2)
    even = flat_field(frames, flat=flat).mean("t")

    assert float(even.std() / even.mean()) < 0.06
    np.testing.assert_allclose(flat / flat.mean(), light / light.mean(), rtol=0.06)


@pytest.mark.parametrize("parameters", [{"sigma": 2}, {"degree": 2}])
def test_lazy_illumination_is_eager(frames: xr.DataArray, parameters: dict[str, Any]) -> None:
    """Chunks through time and space change nothing but the order of sums."""
    lazy = estimate_illumination(frames.chunk({"t": 2, "y": 11, "x": 13}), **parameters)

    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, estimate_illumination(frames, **parameters), rtol=1e-5)


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block functions give on any device what they give in NumPy."""
    values = rng.normal(100, 5, (3, 12, 10)).astype(np.float32)
    values[1, 2] = np.nan
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (levelled, (values,), {"rows": True, "columns": True, "window": 3}),
        (levelled, (values,), {"rows": True, "columns": False, "window": None}),
        (fitted_polynomial, (values[:1],), {"degree": 2}),
        (ranked_as_first, (values, values[0] + 1), {"ndim": 2}),
    ]
    for function, arrays, parameters in calls:
        result = xp.host(function(*(xp.array(array) for array in arrays), **parameters))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, function(*arrays, **parameters), rtol=1e-5)


def test_the_fit_comes_back_to_where_the_means_are(
    chunk_library: Any, rng: np.random.Generator
) -> None:
    """Means on a device are fitted on the host, and the curve is on the device again."""
    means = rng.uniform(50, 60, (2, 20))

    fitted = chunk_library.host(fitted_decay(chunk_library.array(means)))

    np.testing.assert_allclose(fitted, [decay(series) for series in means])


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (correct_photobleaching, {"method": "linear"}, "method is 'linear'"),
        (correct_photobleaching, {"dim": "z"}, "'z' is needed"),
        (correct_photobleaching, {"dims": ()}, "dims is empty"),
        (remove_fixed_pattern, {"along": "y"}, "along is 'y'"),
        (remove_fixed_pattern, {"window": 4}, "window is 4"),
        (remove_fixed_pattern, {"window": 31}, "frames has 30 pixels along 'y'"),
        (remove_fixed_pattern, {"dims": ("x",)}, "must name two dimensions"),
        (estimate_illumination, {}, "exactly one of them"),
        (estimate_illumination, {"sigma": 2, "degree": 2}, "exactly one of them"),
        (estimate_illumination, {"sigma": 0}, "sigma is 0"),
        (estimate_illumination, {"degree": -1}, "degree is -1"),
        (estimate_illumination, {"degree": 30}, "frames has 30 pixels along 'y'"),
        (estimate_illumination, {"degree": 1, "average": "mode"}, "average is 'mode'"),
        (estimate_illumination, {"degree": 1, "dims": ("x",)}, "must name two dimensions"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value."""
    with pytest.raises(OperationError, match=message):
        function(frames, **parameters)


def test_an_exponential_needs_four_frames(frames: xr.DataArray) -> None:
    """Three parameters through three means would fit anything."""
    with pytest.raises(OperationError, match="an exponential needs at least 4; use method='ratio'"):
        correct_photobleaching(frames[:3])
