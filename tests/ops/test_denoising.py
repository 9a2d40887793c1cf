"""Smoothing that keeps edges: bilateral, non-local means, diffusion, wavelets."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pywt
import scipy.ndimage
import skimage.restoration
import xarray as xr

from forebay.ops import (
    OperationError,
    anisotropic_diffusion,
    bilateral_filter,
    nonlocal_means,
    wavelet_denoise,
)
from forebay.ops.filters import parts
from forebay.ops.filters.bilateral import bilateral
from forebay.ops.filters.diffusion import diffused
from forebay.ops.filters.nonlocal_means import mean_of_alike
from forebay.ops.filters.wavelet import denoised, filter_bank, put_together, taken_apart

type Values = npt.NDArray[np.float64]

ALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "bilateral": (bilateral_filter, {"sigma": 1, "value_sigma": 500, "truncate": 2}),
    "nonlocal": (nonlocal_means, {"strength": 800, "patch_size": 3, "search_size": 5}),
    "diffusion": (anisotropic_diffusion, {"iterations": 4, "edge": 500}),
    "wavelet": (wavelet_denoise, {"levels": 1}),
}
each = pytest.mark.parametrize(("function", "parameters"), ALL.values(), ids=ALL.keys())


def step_with_noise(rng: np.random.Generator) -> tuple[xr.DataArray, Values]:
    """Return a noisy frame of two levels, and the frame without noise."""
    clean = np.where(np.arange(48) < 20, 100.0, 200.0) * np.ones((40, 1))
    return xr.DataArray(clean + rng.normal(0, 8, clean.shape), dims=("y", "x")), clean


def written_out_bilateral(frame: Values, sigma: float, value_sigma: float, reach: int) -> Values:
    """Return equation 5 of Tomasi and Manduchi, pixel by pixel."""
    wide = np.pad(frame, reach, mode="edge")
    place = np.arange(-reach, reach + 1)
    near = np.exp(-(place[:, None] ** 2 + place**2) / (2 * sigma**2))
    result = np.empty_like(frame)
    for y, x in np.ndindex(frame.shape):
        patch = wide[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
        weight = near * np.exp(-((patch - frame[y, x]) ** 2) / (2 * value_sigma**2))
        result[y, x] = (weight * patch).sum() / weight.sum()
    return result


def written_out_means(
    frame: Values, strength: float, patch: int, search: int, noise: float
) -> Values:
    """Return the patchwise formula of Buades, Coll and Morel, pixel by pixel."""
    rim = patch + search
    wide = np.pad(frame, rim, mode="edge")

    def patch_at(y: int, x: int) -> Values:
        return wide[y - patch : y + patch + 1, x - patch : x + patch + 1]

    result = np.empty_like(frame)
    for y, x in np.ndindex(frame.shape):
        total = weights = 0.0
        for dy, dx in np.ndindex(2 * search + 1, 2 * search + 1):
            there = (y + rim + dy - search, x + rim + dx - search)
            distance = ((patch_at(*there) - patch_at(y + rim, x + rim)) ** 2).mean()
            weight = math.exp(-max(distance - 2 * noise**2, 0) / strength**2)
            total += weight * wide[there]
            weights += weight
        result[y, x] = total / weights
    return result


def test_the_bilateral_filter_is_its_formula(frames: xr.DataArray) -> None:
    """Float64 frames give the published sum; float32 is within 1e-5 of the largest value."""
    few = frames[:2, :12, :14]
    expected = np.stack([written_out_bilateral(f, 1.2, 700, 2) for f in few.values.astype(float)])
    parameters: dict[str, Any] = {"sigma": 1.2, "value_sigma": 700, "truncate": 1.9}

    np.testing.assert_allclose(
        bilateral_filter(few.astype(float), **parameters), expected, atol=1e-9
    )
    np.testing.assert_allclose(bilateral_filter(few, **parameters), expected, atol=0.04)


def test_the_weights_of_values_are_scikit_images(rng: np.random.Generator) -> None:
    """With even weights in space it agrees to 1e-4, which is as fine as its table of weights.

    Those in space cannot be compared: its own, of 0.26, are shifted from row to row.
    """
    frame, _ = step_with_noise(rng)
    expected = skimage.restoration.denoise_bilateral(
        frame.values, win_size=7, sigma_color=20, sigma_spatial=1e6, mode="edge"
    )

    result = bilateral_filter(frame, sigma=1e6, value_sigma=20, truncate=3e-6)

    np.testing.assert_allclose(result, expected, rtol=1e-4)


@pytest.mark.parametrize("noise", [0, 300])
def test_nonlocal_means_is_its_formula(frames: xr.DataArray, noise: float) -> None:
    """Float64 frames give the published sum; float32 is within 1e-5 of the largest value."""
    few = frames[:2, :11, :13]
    expected = np.stack([written_out_means(f, 900, 1, 2, noise) for f in few.values.astype(float)])
    parameters: dict[str, Any] = {
        "strength": 900,
        "patch_size": 3,
        "search_size": 5,
        "noise_sigma": noise,
    }

    np.testing.assert_allclose(nonlocal_means(few.astype(float), **parameters), expected, atol=1e-9)
    np.testing.assert_allclose(nonlocal_means(few, **parameters), expected, atol=0.04)


def test_nonlocal_means_is_scikit_images_away_from_the_edge(rng: np.random.Generator) -> None:
    """Its fast mode weighs as this does, but mirrors beyond the edge and drops weights of e^-5."""
    frame, _ = step_with_noise(rng)
    expected = skimage.restoration.denoise_nl_means(
        frame.values, patch_size=5, patch_distance=4, h=12, sigma=8, fast_mode=True
    )

    result = nonlocal_means(frame, strength=12, patch_size=5, search_size=9, noise_sigma=8)

    np.testing.assert_allclose(result[7:-7, 7:-7], expected[7:-7, 7:-7], rtol=0.01)


@pytest.mark.parametrize("conductance", ["exponential", "reciprocal"])
def test_diffusion_is_its_formula(frames: xr.DataArray, conductance: Any) -> None:
    """Float64 frames give Perona and Malik's scheme, with mirrored pixels that let nothing flow."""
    values = frames.values.astype(float)
    expected = values.copy()
    for _ in range(5):
        wide = np.pad(expected, ((0, 0), (1, 1), (1, 1)), mode="edge")
        change = np.zeros_like(values)
        for part in (wide[:, :-2, 1:-1], wide[:, 2:, 1:-1], wide[:, 1:-1, :-2], wide[:, 1:-1, 2:]):
            d = part - expected
            gain = (
                np.exp(-((d / 600) ** 2))
                if conductance == "exponential"
                else 1 / (1 + (d / 600) ** 2)
            )
            change += gain * d
        expected = expected + 0.2 * change

    parameters: dict[str, Any] = {
        "iterations": 5,
        "edge": 600,
        "step": 0.2,
        "conductance": conductance,
    }
    np.testing.assert_allclose(
        anisotropic_diffusion(frames.astype(float), **parameters), expected, atol=1e-9
    )
    np.testing.assert_allclose(anisotropic_diffusion(frames, **parameters), expected, atol=0.04)


def test_diffusion_without_edges_is_that_of_heat(frames: xr.DataArray) -> None:
    """Where all differences are small it is the heat equation, whose steps scipy makes."""
    heat = frames[0].values.astype(float)
    for _ in range(10):
        heat = heat + 0.25 * scipy.ndimage.laplace(heat, mode="nearest")

    result = anisotropic_diffusion(frames[0].astype(float), iterations=10, edge=1e9)

    np.testing.assert_allclose(result, heat, atol=1e-6)


def test_diffusion_keeps_the_mean_and_makes_nothing_new(frames: xr.DataArray) -> None:
    """Each frame keeps its mean, and no value is beyond those that it had."""
    before = frames.astype(float)

    after = anisotropic_diffusion(before, iterations=20, edge=1000)

    np.testing.assert_allclose(after.mean(("y", "x")), before.mean(("y", "x")), rtol=1e-12)
    assert float(after.max()) <= float(before.max())
    assert float(after.min()) >= float(before.min())
    assert bool((after.std(("y", "x")) < before.std(("y", "x"))).all())


@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2", "sym4"])
@pytest.mark.parametrize("size", [8, 9, 13])
def test_the_transform_is_that_of_pywavelets(
    xp: Any, rng: np.random.Generator, wavelet: str, size: int
) -> None:
    """Bands of even and odd frames are those that pywt gives, and put together again the frame."""
    values = rng.normal(size=(2, size, size + 3))
    bank = filter_bank(wavelet)

    bands = taken_apart(xp.array(values), bank, (-2, -1))

    expected = pywt.dwtn(values, wavelet, mode="symmetric", axes=(1, 2))
    assert bands.keys() == expected.keys()
    for name, band in expected.items():
        np.testing.assert_allclose(xp.host(bands[name]), band, atol=1e-12)
    again = xp.host(put_together(bands, bank, (-2, -1), values.shape))
    np.testing.assert_allclose(again, values, atol=1e-10)


@pytest.mark.parametrize(("method", "theirs"), [("bayes", "BayesShrink"), ("visu", "VisuShrink")])
def test_wavelet_denoising_is_scikit_images(frames: xr.DataArray, method: Any, theirs: str) -> None:
    """Each frame has the values that scikit-image gives for the same noise."""
    smooth = scipy.ndimage.gaussian_filter(frames.values.astype(float), (0, 2, 2))
    expected = np.stack(
        [
            skimage.restoration.denoise_wavelet(
                f, sigma=30, wavelet="db2", wavelet_levels=2, method=theirs, rescale_sigma=False
            )
            for f in smooth
        ]
    )

    result = wavelet_denoise(frames.copy(data=smooth), levels=2, method=method, noise_sigma=30)

    np.testing.assert_allclose(result, expected, rtol=1e-7)


def test_each_frame_has_its_own_noise(rng: np.random.Generator) -> None:
    """Where none is given, the noise is estimated a frame at a time, as scikit-image does."""
    values = rng.normal(0, [[[2.0]], [[20.0]]], (2, 64, 64))
    frames = xr.DataArray(values, dims=("t", "y", "x"))

    together = wavelet_denoise(frames, levels=2)

    for index, frame in enumerate(values):
        sigma = skimage.restoration.estimate_sigma(frame)  # type: ignore[no-untyped-call]
        expected = wavelet_denoise(frames[index], levels=2, noise_sigma=sigma)
        np.testing.assert_allclose(together[index], expected, rtol=1e-3, atol=1e-3)


@each
def test_noise_goes_and_the_edge_stays(
    function: Any, parameters: dict[str, Any], rng: np.random.Generator
) -> None:
    """The error of a noisy step of twelve times the noise is at least halved, on both its sides."""
    frame, clean = step_with_noise(rng)
    fitting: dict[str, dict[str, Any]] = {
        "bilateral_filter": {"sigma": 2, "value_sigma": 25},
        "nonlocal_means": {"strength": 8, "noise_sigma": 8},
        "anisotropic_diffusion": {"iterations": 15, "edge": 30},
        "wavelet_denoise": {"levels": 3, "noise_sigma": 8},
    }

    result = function(frame, **fitting[function.__name__])

    beside = slice(18, 22)
    for part in (slice(None), beside):
        before = np.sqrt(((frame.values - clean)[:, part] ** 2).mean())
        after = np.sqrt(((result.values - clean)[:, part] ** 2).mean())
        assert after < (0.5 if part != beside else 0.85) * before


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block functions give on any device what they give in NumPy."""
    values = rng.normal(100, 10, (2, 16, 17)).astype(np.float32)
    bank = filter_bank("db2")
    wavelet: dict[str, Any] = {"ndim": 2, "bank": bank, "levels": 2, "bayes": True}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (bilateral, {"sigma": 1.0, "value_sigma": 10.0, "reach": 2, "axes": (1, 2)}),
        (
            mean_of_alike,
            {"strength": 9.0, "variance": 4.0, "patch": 1, "search": 2, "axes": (1, 2)},
        ),
        (
            diffused,
            {"iterations": 3, "edge": 9.0, "step": 0.25, "exponential": True, "axes": (1, 2)},
        ),
        (denoised, {**wavelet, "noise_sigma": None}),
        (denoised, {**wavelet, "noise_sigma": 5.0, "bayes": False}),
    ]
    for function, parameters in calls:
        result = xp.host(function(xp.array(values), **parameters))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, function(values, **parameters), atol=1e-3)


@each
@pytest.mark.parametrize("chunks", [{"t": 3}, {"t": 2, "y": 5, "x": (3, 17, 21)}])
def test_chunks_through_the_frame_leave_no_seam(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any], chunks: dict[str, Any]
) -> None:
    """Chunks cut through y and x, even narrower than the rim, give the eager values bit for bit."""
    np.testing.assert_array_equal(
        function(frames.chunk(chunks), **parameters), function(frames, **parameters)
    )


@each
@pytest.mark.parametrize("dims", [("y", "x"), ("t", "x")])
def test_a_block_in_parts_is_the_block(
    frames: xr.DataArray,
    function: Any,
    parameters: dict[str, Any],
    dims: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames worked on one at a time, along any axes, are what they are all together."""
    both = xr.concat([frames, frames[::-1]], "channel", join="override").isel(y=slice(12))
    together = function(both, dims=dims, **parameters)
    monkeypatch.setattr(parts, "LARGEST", 7 * 41)

    np.testing.assert_array_equal(function(both, dims=dims, **parameters), together)


@each
def test_a_frame_of_nan_is_nan_and_no_other(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any]
) -> None:
    """The frames beside one of NaN are what they are without it."""
    noisy = frames.astype("float32")
    noisy[1] = np.nan

    result = function(noisy, **parameters)

    assert bool(np.isnan(result[1]).all())
    np.testing.assert_array_equal(result[2:], function(frames, **parameters)[2:])


def test_an_infinite_pixel_makes_no_warning_of_wavelets(frames: xr.DataArray) -> None:
    """Its frame is NaN, the others are as they were, and nothing is said (warnings are errors)."""
    bright = frames.astype("float32")
    bright[1, 3, 4] = np.inf

    result = wavelet_denoise(bright, levels=2)

    assert np.isnan(result.values).all((1, 2)).nonzero()[0].tolist() == [1]


@pytest.mark.parametrize(
    ("function", "parameters", "reach"),
    [
        (bilateral_filter, {"sigma": 1, "value_sigma": 500, "truncate": 2}, 2),
        (nonlocal_means, {"strength": 800, "patch_size": 3, "search_size": 5}, 3),
    ],
)
def test_a_nan_spreads_as_far_as_it_is_looked_at(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any], reach: int
) -> None:
    """A NaN pixel makes NaN of the square around it."""
    noisy = frames.astype("float32")
    noisy[2, 15, 20] = np.nan

    square = np.zeros(frames.shape, bool)
    square[2, 15 - reach : 16 + reach, 20 - reach : 21 + reach] = True
    np.testing.assert_array_equal(np.isnan(function(noisy, **parameters)), square)


@each
def test_an_even_frame_stays_as_it_is(function: Any, parameters: dict[str, Any]) -> None:
    """Nothing is to be smoothed in a bright frame of one value, and nothing changes."""
    frames = xr.DataArray(np.full((32, 32), 65_535, np.uint16), dims=("y", "x"))

    np.testing.assert_allclose(function(frames, **parameters), 65_535, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (bilateral_filter, {"sigma": 0, "value_sigma": 1}, "sigma is 0"),
        (bilateral_filter, {"sigma": 1, "value_sigma": 0}, "value_sigma is 0"),
        (bilateral_filter, {"sigma": 6, "value_sigma": 1}, "frames has 30 pixels"),
        (nonlocal_means, {"strength": 0}, "strength is 0"),
        (nonlocal_means, {"strength": 1, "patch_size": 4}, "patch_size is 4"),
        (nonlocal_means, {"strength": 1, "search_size": 31}, "search_size=31 needs at least"),
        (nonlocal_means, {"strength": 1, "noise_sigma": -1}, "noise_sigma is -1"),
        (anisotropic_diffusion, {"iterations": 0, "edge": 1}, "iterations is 0"),
        (anisotropic_diffusion, {"iterations": 1, "edge": 0}, "edge is 0"),
        (anisotropic_diffusion, {"iterations": 1, "edge": 1, "step": 0.3}, "at most 0.25"),
        (
            anisotropic_diffusion,
            {"iterations": 1, "edge": 1, "conductance": "none"},
            "conductance is 'none'",
        ),
        (wavelet_denoise, {"wavelet": "morl"}, "wavelet is 'morl'"),
        (wavelet_denoise, {"wavelet": 2}, "wavelet is 2"),
        (wavelet_denoise, {"levels": 0}, "levels is 0"),
        (wavelet_denoise, {"dims": ()}, "dims is empty"),
        (wavelet_denoise, {"levels": 9}, "have room for 3"),
        (wavelet_denoise, {"method": "sure"}, "method is 'sure'"),
        (wavelet_denoise, {"noise_sigma": np.nan}, "noise_sigma is nan"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        function(frames, **parameters)
