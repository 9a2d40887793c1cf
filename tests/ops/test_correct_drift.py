"""Moving frames by parts of a pixel: `correct_drift` and `align_channels`."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops import OperationError, align_channels, correct_drift, fit_affine
from forebay.ops.registration.channels import transformed
from forebay.ops.registration.shifting import moved


def displacement(values: Any, *dims: str) -> xr.DataArray:
    """Return displacements along y and x."""
    return xr.DataArray(np.asarray(values), dims=(*dims, "axis"), coords={"axis": ["y", "x"]})


@pytest.fixture
def drift(rng: np.random.Generator) -> xr.DataArray:
    """Give a drift for seven frames."""
    return displacement(rng.uniform(-4, 4, (7, 2)), "t")


@pytest.mark.parametrize("order", [0, 1, 3, 5])
@pytest.mark.parametrize(
    ("edge", "theirs"),
    [("nan", "constant"), ("nearest", "nearest"), ("reflect", "reflect"), ("wrap", "grid-wrap")],
)
def test_splines_are_scipys(
    frames: xr.DataArray, drift: xr.DataArray, order: int, edge: Any, theirs: str
) -> None:
    """Each frame is what scipy's shift by minus its drift gives in float64."""
    result = correct_drift(frames, drift, order=order, edge=edge)

    for number in (0, 5):
        expected = scipy.ndimage.shift(
            frames.values[number].astype(float),
            -drift.values[number],
            order=order,
            mode=theirs,
            cval=np.nan,
        )
        np.testing.assert_allclose(result[number], expected, atol=0.05)
    assert result.dtype == np.float32


@pytest.mark.parametrize("shape", [(12, 15), (13, 14)])
def test_waves_are_those_of_the_trigonometric_polynomial(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    """With method='fourier' the frame is summed wave by wave at the places asked for."""
    values = rng.normal(size=shape)
    move = (1.3, -2.6)
    kernels = []
    for size, each in zip(shape, move, strict=True):
        frequency = np.fft.fftfreq(size)
        turn = np.exp(2j * np.pi * frequency * each)
        if size % 2 == 0:
            turn[size // 2] = np.cos(np.pi * each)
        place = np.arange(size)
        waves = np.exp(2j * np.pi * np.multiply.outer(place, frequency))
        kernels.append((waves * turn @ np.conj(waves).T / size).real)

    result = correct_drift(
        xr.DataArray(values, dims=("y", "x")), displacement(move), method="fourier", edge="wrap"
    )

    np.testing.assert_allclose(result, kernels[0] @ values @ kernels[1].T, atol=1e-12)


@pytest.mark.parametrize("method", ["spline", "fourier"])
def test_there_and_back(rng: np.random.Generator, method: Any) -> None:
    """A smooth periodic frame, moved there and back, is what it was."""
    smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(31, 33)), 2, mode="wrap")
    frame = xr.DataArray(smooth, dims=("y", "x"))
    options: dict[str, Any] = {"method": method, "edge": "wrap", "order": 5}

    there = correct_drift(frame, displacement([2.3, -1.6]), **options)
    back = correct_drift(there, displacement([-2.3, 1.6]), **options)

    np.testing.assert_allclose(back, frame, atol=2e-3 * float(abs(frame).max()))


@pytest.mark.parametrize("method", ["spline", "fourier"])
def test_what_comes_from_beyond_is_nan(frames: xr.DataArray, method: Any) -> None:
    """Pixels whose place in the frame is outside the outermost pixels' middles are NaN."""
    result = correct_drift(frames, displacement([1.5, -2.0]), method=method)

    expected = np.zeros((30, 41), bool)
    expected[-2:] = True
    expected[:, :2] = True
    np.testing.assert_array_equal(np.isnan(result[3]), expected)


def test_whole_pixels_are_kept_as_they_are(frames: xr.DataArray) -> None:
    """Moved by whole pixels, a frame shows its own values."""
    result = correct_drift(frames, displacement([1, -2]))

    np.testing.assert_allclose(result[:, :-1, 2:], frames[:, 1:, :-2], atol=0.02)


def test_nan_in_the_drift_or_in_the_frame(frames: xr.DataArray, drift: xr.DataArray) -> None:
    """A frame that nobody knows the drift of is NaN; a NaN pixel stays small where it can."""
    drift[2, 0] = np.nan
    noisy = frames.astype("f4")
    noisy[4, 15, 20] = np.nan

    result = correct_drift(noisy, drift, order=1, edge="nearest")

    lost = result.isnull().sum(("y", "x"))
    assert lost[2] == 30 * 41
    assert 1 <= lost[4] <= 9
    assert int(lost.sum()) == lost[2] + lost[4]


@pytest.mark.parametrize("method", ["spline", "fourier"])
def test_lazily_as_eagerly(frames: xr.DataArray, drift: xr.DataArray, method: Any) -> None:
    """Frames cut anywhere and a drift cut otherwise give the eager bits."""
    eager = correct_drift(frames, drift, method=method)

    cut, cut_otherwise = frames.chunk({"t": 3, "y": 13}), drift.chunk({"t": 2, "axis": 1})
    for given, own in ((cut, drift), (cut, cut_otherwise), (frames, cut_otherwise)):
        lazy = correct_drift(given, own, method=method)
        np.testing.assert_array_equal(lazy.compute(), eager)


def test_the_drift_may_be_in_another_order(frames: xr.DataArray, drift: xr.DataArray) -> None:
    """What matters is the name along axis, not the place."""
    result = correct_drift(frames, drift.isel(axis=[1, 0]))

    np.testing.assert_array_equal(result, correct_drift(frames, drift))


@pytest.mark.parametrize("order", [1, 3, None])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, order: int | None, dtype: str
) -> None:
    """The block functions give on any device what NumPy gives in float64."""
    values = rng.integers(0, 250, (2, 9, 12)).astype(dtype)
    double = values.astype(np.float64)
    place = np.array([[1.25, -2.5], [np.nan, 0]])

    result = xp.host(moved(xp.array(values), place, order=order, edge="nan"))

    np.testing.assert_allclose(result, moved(double, place, order=order, edge="nan"), atol=1e-3)
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)
    if order is not None:
        matrix = np.array([[[1.1, 0.1, -2], [0, 0.9, 1]], np.full((2, 3), np.nan)])
        result = xp.host(transformed(xp.array(values), matrix, order=order, edge="nearest"))
        expected = transformed(double, matrix, order=order, edge="nearest")
        np.testing.assert_allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("drift", "parameters", "message"),
    [
        (displacement([1, 2]), {"method": "sinc"}, "method is 'sinc'"),
        (displacement([1, 2]), {"order": 6}, "order is 6"),
        (displacement([1, 2]), {"edge": "zero"}, "edge is 'zero'"),
        (displacement([1, 2]), {"method": "fourier", "edge": "nearest"}, "edge is 'nearest'"),
        (displacement(np.ones((3, 2)), "t"), {}, "drift has 3 values along 't'"),
        (displacement(np.ones((7, 2)), "u"), {}, "drift has 7 values along 'u'"),
        (displacement([1, 2]).drop_vars("axis"), {}, "drift is along None"),
        (displacement([1, 2]), {"dims": ("t", "x")}, "must be along \\['t', 'x'\\]"),
        (displacement([1, 2]).rename(axis="s"), {}, "'axis' is needed"),
    ],
)
def test_what_does_not_fit_is_refused(
    frames: xr.DataArray, drift: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A drift of other frames, or a parameter out of its range, is named in the error."""
    with pytest.raises(OperationError, match=message):
        correct_drift(frames, drift, **parameters)


def affine(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return where a slightly larger, turned and moved channel has `points`."""
    matrix = np.array([[1.02, 0.03], [-0.02, 0.99]])
    moved_points: np.ndarray[Any, Any] = points @ matrix.T + [1.5, -2.0]
    return moved_points


def test_beads_give_the_affine_transform(rng: np.random.Generator) -> None:
    """The transform between beads is found, also from many that are a little off."""
    here = rng.uniform(0, 100, (400, 2))
    noise = rng.normal(0, 0.1, (400, 2))

    exact = fit_affine(affine(here[:3]), here[:3])
    fitted = fit_affine(affine(here) + noise, here)

    expected = [[1.02, 0.03, 1.5], [-0.02, 0.99, -2.0]]
    np.testing.assert_allclose(exact, expected, atol=1e-10)
    np.testing.assert_allclose(fitted, expected, atol=0.03)
    np.testing.assert_allclose(fitted[:, :2], np.array(expected)[:, :2], atol=6e-4)


def test_channels_are_brought_together_by_transforms() -> None:
    """A spot that lies elsewhere in each channel lies in one place afterwards."""
    y, x = np.mgrid[:60, :60].astype(float)
    at = np.array([[20.0, 25.0], [40.0, 35.0], [22.0, 45.0]])

    def image(places: np.ndarray[Any, Any]) -> Any:
        return sum(np.exp(-((y - b) ** 2 + (x - a) ** 2) / 18) for b, a in places)

    frames = xr.DataArray(np.stack([image(at), image(affine(at))]), dims=("c", "y", "x"))
    own = fit_affine(at, at)
    transforms = xr.concat([own, fit_affine(affine(at), at)], "c")

    for given in (frames, frames.chunk({"c": 1, "y": 20})):
        result = align_channels(given, transforms=transforms).compute()
        np.testing.assert_allclose(result[0], frames[0], atol=1e-10)
        # The spots are a few percent larger there; their places are the same.
        assert float(abs(result[1] - frames[0])[5:-5, 5:-5].max()) < 0.03
    assert float(abs(frames[1] - frames[0]).max()) > 0.3


def test_channels_are_brought_together_by_what_they_show(rng: np.random.Generator) -> None:
    """Without transforms each channel is moved by its displacement, the same in all frames."""
    scene = scipy.ndimage.gaussian_filter(rng.normal(size=(40, 44)), 1.5, mode="wrap")
    one = np.stack([scene * factor for factor in (1, 2)])
    two = 5 + 3 * np.roll(one, (2, -3), (1, 2))
    frames = xr.DataArray(np.stack([one, two], axis=1), dims=("t", "c", "y", "x"))

    options: dict[str, Any] = {"window": None, "edge": "wrap"}
    eager = align_channels(frames, reference=1, **options)
    lazy = align_channels(frames.chunk({"t": 1, "y": 10}), reference=1, **options)

    np.testing.assert_allclose(eager[:, 0], (two - 5) / 3, atol=1e-9)
    np.testing.assert_allclose(eager[:, 1], two, atol=1e-9)
    np.testing.assert_allclose(lazy.compute(), eager, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frames: align_channels(frames, dim="c"), "'c' is needed"),
        (lambda frames: align_channels(frames, dim="y"), "must name each dimension once"),
        (lambda frames: align_channels(frames, dim="t", reference=7), "reference is 7"),
        (lambda frames: align_channels(frames, dim="t", order=9), "order is 9"),
        (
            lambda frames: align_channels(frames, dim="t", edge="zero"),  # type: ignore[arg-type]
            "edge is 'zero'",
        ),
        (
            lambda frames: align_channels(
                frames, dim="t", transforms=fit_affine(np.eye(3, 2), np.eye(3, 2)).expand_dims(t=3)
            ),
            "for each of 7 along 't'",
        ),
        (lambda _: fit_affine([(1, 2)], [(1, 2)]), "has 1 points, but must have at least 3"),
        (lambda _: fit_affine(np.ones((5, 2)), np.ones((5, 2))), "do not lie in one line"),
        (lambda _: fit_affine(np.ones((5, 3)), np.ones((5, 2))), "a row a point"),
        (lambda _: fit_affine(np.eye(3, 2) * np.nan, np.eye(3, 2)), "not finite"),
    ],
)
def test_channels_that_do_not_fit_are_refused(
    frames: xr.DataArray, call: Any, message: str
) -> None:
    """What is missing or out of its range is named in the error, with what is allowed."""
    with pytest.raises(OperationError, match=message):
        call(frames)
