"""Displacements between frames: `phase_correlation` and `estimate_drift`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, correct_drift, estimate_drift, phase_correlation
from forebay.ops.registration.correlation import displacements
from forebay.ops.registration.drift import follow

WATER = Path(__file__).parents[2] / "examples" / "data" / "bulk_water" / "bulk_water_000.png"
SEARCH: dict[str, Any] = {"upsampling": 20, "normalise": True, "window": None}


@pytest.fixture(scope="module")
def water() -> npt.NDArray[np.float64]:
    """Give a real frame."""
    with Image.open(WATER) as image:
        return np.asarray(image.convert("L")).astype(float)


def turned(frame: npt.NDArray[np.float64], *shift: float) -> npt.NDArray[np.float64]:
    """Return a frame moved periodically by parts of a pixel, with scipy."""
    return np.fft.ifftn(scipy.ndimage.fourier_shift(np.fft.fftn(frame), shift)).real


def drifting(
    rng: np.random.Generator, places: npt.ArrayLike, *, noise: float = 0.0
) -> xr.DataArray:
    """Return frames of one smooth scene at `places`, periodic, with noise."""
    scene = scipy.ndimage.gaussian_filter(rng.normal(size=(31, 31)), 1, mode="wrap")
    values = np.stack([turned(scene, *place) for place in np.asarray(places)])
    values = values + noise * rng.normal(size=values.shape)
    return xr.DataArray(values, dims=("t", "y", "x"), coords={"t": np.arange(len(values)) / 4})


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("size", [(16, 21), (15, 18)])
def test_the_peak_is_where_the_whole_correlation_is_highest(
    rng: np.random.Generator, normalise: bool, size: tuple[int, int]
) -> None:
    """Evaluating the published correlation at every fine position, wave by wave, agrees."""
    still = rng.normal(size=size)
    other = np.roll(still, (3, -4), (0, 1)) + 0.5 * rng.normal(size=size)
    cross = np.fft.fft2(other - other.mean()) * np.conj(np.fft.fft2(still - still.mean()))
    cross[0, 0] = 0
    if normalise:
        cross.ravel()[1:] /= abs(cross).ravel()[1:]
    fine = [np.arange(-5 * size_, 5 * size_) / 10 for size_ in size]
    across, along = (
        np.exp(2j * np.pi * np.multiply.outer(each, np.fft.fftfreq(size_)))
        for each, size_ in zip(fine, size, strict=True)
    )
    surface = (across @ cross @ along.T).real
    best = np.unravel_index(surface.argmax(), surface.shape)

    result = phase_correlation(
        xr.DataArray(other, dims=("y", "x")),
        xr.DataArray(still, dims=("y", "x")),
        upsampling=10,
        normalise=normalise,
        window=None,
    )

    np.testing.assert_allclose(
        result, [each[place] for each, place in zip(fine, best, strict=True)], atol=1e-9
    )


def test_parts_of_a_pixel_are_found(rng: np.random.Generator) -> None:
    """A scene moved by hundredths of a pixel is found within half a step of the grid."""
    places = rng.uniform(-6, 6, (5, 2))
    moved = drifting(rng, [[0, 0], *places])

    for normalise in (True, False):
        result = phase_correlation(
            moved[1:], moved[0].drop_vars("t"), upsampling=100, normalise=normalise, window=None
        )
        np.testing.assert_allclose(result, places, atol=0.0051)
    assert result.dims == ("t", "axis")
    assert result.axis.values.tolist() == ["y", "x"]
    assert result.attrs == {"units": "pixels"}


def test_real_frames_that_show_another_part(water: npt.NDArray[np.float64]) -> None:
    """Two regions of one real frame lie beside each other as they were cut, periodic or not."""
    here, there = water[100:228, 200:340], water[107:235, 189:329]
    frames = xr.DataArray(there.astype(np.uint8), dims=("y", "x"))
    still = xr.DataArray(here.astype(np.uint8), dims=("y", "x"))

    for normalise in (True, False):
        result = phase_correlation(frames, still, normalise=normalise)
        np.testing.assert_allclose(result, [-7, 11], atol=0.1)


def test_stacks_have_three_displacements(rng: np.random.Generator) -> None:
    """With three dims the third is found as the others are, in the order of dims."""
    still = scipy.ndimage.gaussian_filter(rng.normal(size=(11, 13, 15)), 0.8, mode="wrap")
    other = turned(still, 1.5, -2.25, 0.75)

    result = phase_correlation(
        xr.DataArray(other, dims=("z", "y", "x")),
        xr.DataArray(still, dims=("z", "y", "x")),
        window=None,
        dims=("x", "z", "y"),
    )

    np.testing.assert_allclose(result, [0.75, 1.5, -2.25], atol=0.026)
    assert result.axis.values.tolist() == ["x", "z", "y"]


@pytest.mark.parametrize("factor", [1e-25, 1e25])
@pytest.mark.parametrize("normalise", [True, False])
def test_the_unit_does_not_matter(rng: np.random.Generator, factor: float, normalise: bool) -> None:
    """Frames in any unit that float32 holds lie where they lie."""
    moved = drifting(rng, np.array([[0, 0], [1.25, 2.5]]))
    options: dict[str, Any] = {"window": None, "normalise": normalise}

    result = estimate_drift((moved * factor).astype("f4"), **options)

    np.testing.assert_allclose(result[1], [1.25, 2.5], atol=0.026)


def test_nothing_to_see_is_nan(rng: np.random.Generator) -> None:
    """A frame without contrast, or with a NaN, has no displacement; others keep theirs."""
    moved = drifting(rng, [[0, 0], [1, 2], [2, 3], [3, 4]])
    moved[1] = 7
    moved[2, 5, 5] = np.nan

    result = phase_correlation(moved, moved[0].drop_vars("t"), window=None)

    assert result.isnull().all("axis").values.tolist() == [False, True, True, False]
    np.testing.assert_allclose(result[3], [3, 4], atol=0.026)
    single = xr.DataArray([[5.0]], dims=("y", "x"))
    assert bool(phase_correlation(single, single).isnull().all())


@pytest.mark.parametrize("reference", ["first", "previous", "mean", "running"])
def test_a_drift_is_followed(rng: np.random.Generator, reference: Any) -> None:
    """A slow walk is found from each reference, lazily and eagerly, from the first frame on."""
    places = np.cumsum(rng.uniform(-0.4, 0.6, (9, 2)), axis=0)
    places -= places[0]
    frames = drifting(rng, places, noise=0.002)
    if reference == "mean":
        places, frames = places[:4], frames[:4]

    drift = estimate_drift(frames, reference=reference, window=None, upsampling=50)

    np.testing.assert_allclose(
        drift, places, atol=0.1 if reference in ("mean", "previous") else 0.04
    )
    assert drift.values[0].tolist() == [0, 0]
    xr.testing.assert_equal(drift.t, frames.t)
    for chunks in ({"t": 4}, {"t": 3, "y": 10}):
        lazy = estimate_drift(frames.chunk(chunks), reference=reference, window=None, upsampling=50)
        assert lazy.chunks is not None
        np.testing.assert_allclose(lazy.compute(), drift, atol=1e-9)


def test_the_running_mean_sees_through_noise(rng: np.random.Generator) -> None:
    """Where single frames are too noisy to compare, the mean of those before is not."""
    places = np.stack([0.1 * np.arange(40), -0.3 * np.arange(40)], axis=1)
    frames = drifting(rng, places, noise=0.3).astype("float32")

    def worst(reference: Any) -> float:
        drift = estimate_drift(
            frames, reference=reference, window=None, normalise=False, upsampling=10
        )
        return float(abs(drift - places)[3:].max())

    assert worst("running") < 0.45
    assert worst("previous") > 0.6


@pytest.mark.parametrize("normalise", [True, False])
def test_a_frame_is_not_compared_with_itself(rng: np.random.Generator, normalise: bool) -> None:
    """A frame that is in the mean finds its own noise there: noisy frames seemed to lie still."""
    places = np.stack([np.linspace(0, 2, 24), 1.5 * np.sin(np.arange(24) / 4)], axis=1)
    frames = drifting(rng, places, noise=0.1)

    drift = estimate_drift(frames, reference="mean", normalise=normalise, window=None).values

    followed = (drift * places).sum() / (places**2).sum()
    assert 0.8 < followed < 1.2
    pair = estimate_drift(frames[[0, -1]], reference="mean", normalise=False, window=None)
    np.testing.assert_allclose(pair[1], places[-1], atol=0.3)


def test_what_cannot_be_followed_is_left_out(rng: np.random.Generator) -> None:
    """A NaN frame has no drift; the running mean and the first frame go on without it."""
    frames = drifting(rng, [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]])
    frames[2, 3, 3] = np.nan

    for reference, known in (
        ("first", [True, True, False, True, True]),
        ("running", [True, True, False, True, True]),
        ("previous", [True, True, False, False, False]),
        ("mean", [False] * 5),
    ):
        drift = estimate_drift(frames, reference=reference, window=None)  # type: ignore[arg-type]
        assert drift.notnull().all("axis").values.tolist() == known
    assert float(estimate_drift(frames, reference="running", window=None)[4, 0]) == 4


@pytest.mark.parametrize("reference", ["previous", "running"])
def test_other_dimensions_have_their_own_drift(rng: np.random.Generator, reference: Any) -> None:
    """Each channel is followed by itself, whatever the order of dimensions and the chunks."""
    one, other = (drifting(rng, [[0, 0], [sign, 0], [3 * sign, 1]]) for sign in (1, -2))
    both = xr.concat([one, other], "c").transpose("y", "c", "t", "x")

    eager = estimate_drift(both, reference=reference, window=None)
    lazy = estimate_drift(
        both.chunk({"c": 1, "t": 2, "x": 9}), reference=reference, window=None
    ).compute()

    assert eager.dims == lazy.dims == ("c", "t", "axis")
    np.testing.assert_allclose(eager[:, 2], [[3, 1], [-6, 1]], atol=0.026)
    np.testing.assert_allclose(lazy, eager, atol=1e-9)


def test_a_real_run_is_brought_to_rest(water: npt.NDArray[np.float64]) -> None:
    """A view that slides over a real frame is at rest after the correction."""
    slides = [(0, 0), (2, 1), (3, 3), (5, 2)]
    views = np.stack([water[150 - y : 250 - y, 200 - x : 310 - x] for y, x in slides])
    frames = xr.DataArray(views.astype(np.uint8), dims=("t", "y", "x")).chunk({"t": 2})

    still = correct_drift(frames, estimate_drift(frames)).compute()

    inner = still[:, 6:-6, 6:-6]
    unsteady = abs(frames.astype(int) - frames[0].astype(int))[:, 6:-6, 6:-6]
    assert float(abs(inner - inner[0]).max()) < 0.15 * float(unsteady.max())


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, dtype: str, normalise: bool
) -> None:
    """The block functions give on any device what NumPy gives in float64."""
    still = scipy.ndimage.gaussian_filter(rng.normal(100, 200, (12, 15)), 0.5).clip(0, 250)
    values = np.stack([np.roll(still, (n, -n), (0, 1)) for n in range(4)]).astype(dtype)
    options = SEARCH | {"normalise": normalise, "window": "hann", "ndim": 2}

    result = xp.host(displacements(xp.array(values), xp.array(values[:1]), **options))
    followed, _ = follow(xp.array(values), None, memory=3.0, **options)

    double = values.astype(np.float64)
    np.testing.assert_allclose(result, displacements(double, double[:1], **options), atol=1e-6)
    expected, _ = follow(double, None, memory=3.0, **options)
    np.testing.assert_allclose(xp.host(followed), expected, atol=1e-6)
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"upsampling": 0}, "upsampling is 0"),
        ({"upsampling": 1001}, "upsampling is 1001"),
        ({"normalise": "phase"}, "normalise is 'phase'"),
        ({"window": "hamming"}, "window is 'hamming'"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("y", "z")}, "'z' is needed"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        phase_correlation(frames, frames[0], **parameters)
    with pytest.raises(OperationError, match=message):
        estimate_drift(frames, **parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reference": "last"}, "reference is 'last'"),
        ({"memory": 0.5}, "memory is 0.5"),
        ({"dim": "y"}, "must name each dimension once"),
        ({"dim": "u"}, "'u' is needed"),
    ],
)
def test_bad_parameters_of_a_drift_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """What only a drift has is checked as well."""
    with pytest.raises(OperationError, match=message):
        estimate_drift(frames, **parameters)


def test_a_reference_must_fit(frames: xr.DataArray) -> None:
    """A reference of another size is refused, and so is a dimension that the result needs."""
    with pytest.raises(OperationError, match="reference does not lie on the pixels of frames"):
        phase_correlation(frames, frames[0, :20])
    with pytest.raises(OperationError, match="frames has a dimension 'axis'"):
        phase_correlation(frames.rename(t="axis"), frames[0])
