"""Linear deconvolution: `wiener` and `unsupervised_wiener`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, gaussian_psf, unsupervised_wiener, wiener
from forebay.ops.deconvolution.wiener import estimated

WATER = Path(__file__).parents[2] / "examples" / "data" / "bulk_water" / "bulk_water_000.png"
PSF = gaussian_psf(sigma=1.2)


def whole_transforms(frame: Any) -> tuple[Any, Any, Any]:
    """Return the full transforms of a frame and of the blur, and the Laplacian's power."""
    height, width = frame.shape
    point = np.zeros(frame.shape)
    point[:11, :11] = PSF.values
    transfer = np.fft.fft2(np.roll(point, (-5, -5), (0, 1)))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    laplacian = (4 - 2 * np.cos(2 * np.pi * y) - 2 * np.cos(2 * np.pi * x)) ** 2
    return np.fft.fft2(frame), transfer, laplacian


@pytest.mark.parametrize("prior", ["flat", "smooth"])
def test_it_is_the_published_filter(frames: xr.DataArray, prior: Any) -> None:
    """What wraps is H* Y / (|H|² + K), by full transforms."""
    given = frames.astype("float64")
    spectrum, transfer, laplacian = whole_transforms(given.values[2])
    ratio = 0.03 * (laplacian if prior == "smooth" else 1)
    expected = np.fft.ifft2(np.conj(transfer) * spectrum / (abs(transfer) ** 2 + ratio)).real

    result = wiener(given, psf=PSF, noise_to_signal=0.03, prior=prior, edge="wrap")

    np.testing.assert_allclose(result[2], expected, atol=1e-8)


def test_without_noise_the_blur_is_undone(rng: np.random.Generator) -> None:
    """A blurred frame, mirrored at its edges, is what it was, far from them and near them."""
    truth = scipy.ndimage.gaussian_filter(rng.normal(100, 20, (40, 50)), 1.5, mode="reflect")
    blurred = scipy.ndimage.correlate(truth, PSF.values, mode="reflect")
    given = xr.DataArray(blurred, dims=("y", "x"))

    result = wiener(given, psf=PSF, noise_to_signal=1e-7, prior="smooth")

    assert float(abs(result - truth).max()) < 1e-3 * float(abs(blurred - truth).max())


@pytest.mark.parametrize("prior", ["flat", "smooth"])
def test_a_constant_frame_stays_or_shrinks_as_theory_says(prior: Any) -> None:
    """The mean stays with a smooth prior, and is 1 / (1 + K) of it with a flat one."""
    constant = xr.DataArray(np.full((1, 20, 21), 300, np.uint16), dims=("t", "y", "x"))

    result = wiener(constant, psf=PSF, noise_to_signal=0.25, prior=prior)

    np.testing.assert_allclose(result, 300 if prior == "smooth" else 240, rtol=1e-5)
    found = unsupervised_wiener(constant, psf=PSF, prior=prior)
    np.testing.assert_allclose(found, 300, rtol=1e-5)


@pytest.mark.parametrize("prior", ["flat", "smooth"])
def test_the_ratio_found_is_the_likeliest(rng: np.random.Generator, prior: Any) -> None:
    """The result is that of `wiener` with the ratio that scipy finds for the same likelihood."""
    truth = scipy.ndimage.gaussian_filter(rng.normal(0, 100, (32, 36)), 2, mode="wrap")
    values = scipy.ndimage.correlate(truth, PSF.values, mode="wrap") + rng.normal(0, 1, (32, 36))
    given = xr.DataArray(values, dims=("y", "x"))
    spectrum, transfer, laplacian = (each[:, :19] for each in whole_transforms(values))
    cost = laplacian if prior == "smooth" else np.ones_like(laplacian)
    signal = (abs(transfer) ** 2).ravel()[1:] / cost.ravel()[1:]
    energy = (abs(spectrum) ** 2).ravel()[1:]

    def unlikelihood(logarithm: float) -> float:
        expected = signal + np.exp(logarithm)
        return float(np.log((energy / expected).mean()) + np.log(expected).mean())

    likeliest = scipy.optimize.minimize_scalar(unlikelihood, bounds=(-20, 10), method="bounded")

    result = unsupervised_wiener(given, psf=PSF, prior=prior, edge="wrap")

    expected = wiener(given, psf=PSF, noise_to_signal=np.exp(likeliest.x), prior=prior, edge="wrap")
    assert -15 < likeliest.x < 8
    np.testing.assert_allclose(result, expected, atol=1e-3 * float(expected.max()))


def test_a_real_scene_comes_nearer_to_what_it_was() -> None:
    """Without being told the noise, a real frame, blurred and noisy, is restored in part."""
    with Image.open(WATER) as image:
        light = np.asarray(image.convert("L"))[100:200, 200:310].astype(float)
    blurred = scipy.ndimage.correlate(light, PSF.values, mode="reflect")
    noisy = blurred + np.random.default_rng(5).normal(0, 1.0, light.shape)

    given = xr.DataArray(noisy, dims=("y", "x"))

    def error(result: Any) -> float:
        return float(np.sqrt(((np.asarray(result) - light) ** 2).mean()))

    found = error(unsupervised_wiener(given, psf=PSF))

    tried = [
        error(wiener(given, psf=PSF, noise_to_signal=10.0**power, prior="smooth"))
        for power in range(-5, 2)
    ]
    assert found < 0.75 * error(noisy)
    assert found < 1.2 * min(tried)


@pytest.mark.parametrize(("overlap", "tolerance"), [(2, 2e-3), (4, 4e-5)])
def test_chunks_that_overlap_are_as_near_as_is_said(overlap: int, tolerance: float) -> None:
    """Cut through a real frame, with radii of the neighbours around each chunk, the whole is met."""
    with Image.open(WATER) as image:
        values = np.asarray(image.convert("L"))[100:190, 200:300].astype(float)
    frames = xr.DataArray(values, dims=("y", "x"))
    options: dict[str, Any] = {"psf": PSF, "noise_to_signal": 1e-2, "overlap": overlap}
    whole = wiener(frames, **options)

    result = wiener(frames.chunk({"y": 45, "x": (30, 70)}), **options)

    assert 0 < float(abs(result - whole).max() / whole.max()) < tolerance


@pytest.mark.parametrize("operation", [wiener, unsupervised_wiener])
def test_a_nan_makes_its_own_frame_nan(frames: xr.DataArray, operation: Any) -> None:
    """A NaN pixel is in every wave of its frame, and in no other frame."""
    noisy = frames.astype("float32")
    noisy[3, 0, 0] = np.nan
    options: dict[str, Any] = {"noise_to_signal": 0.1} if operation is wiener else {}

    lost = operation(noisy, psf=PSF, **options).isnull().all(("y", "x"))

    assert lost.values.tolist() == [False, False, False, True, False, False, False]


@pytest.mark.parametrize("ratio", [None, 0.01])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, ratio: float | None, smooth: bool, dtype: str
) -> None:
    """The block function gives on any device what NumPy gives in float64, also for stacks."""
    values = rng.integers(0, 250, (2, 6, 9, 8)).astype(dtype)
    psf = gaussian_psf(sigma=0.8, truncate=2, dims=("z", "y", "x")).values
    options: dict[str, Any] = {"smooth": smooth, "wrap": False, "ratio": ratio}

    result = xp.host(estimated(xp.array(values), psf, **options))

    expected = estimated(values.astype(np.float64), psf, **options)
    np.testing.assert_allclose(result, expected, atol=2e-4 * abs(expected).max())
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise_to_signal": 0}, "noise_to_signal is 0"),
        ({"noise_to_signal": np.nan}, "noise_to_signal is nan"),
        ({"prior": "rough"}, "prior is 'rough'"),
        ({"edge": "weighted"}, "edge is 'weighted'"),
        ({"psf": PSF * 3}, "psf adds up to 3"),
        ({"overlap": 1, "edge": "wrap"}, "overlap is 1, but what wraps goes by the whole frame"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("t", "y", "x")}, "'t' is needed"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    options: dict[str, Any] = {"psf": PSF, "noise_to_signal": 0.1}
    options |= parameters

    with pytest.raises(OperationError, match=message):
        wiener(frames, **options)
