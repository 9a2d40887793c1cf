"""Gaussian smoothing and derivatives, the Laplacian of Gaussian, the difference of Gaussians."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops import (
    OperationError,
    bandpass,
    difference_of_gaussians,
    gaussian_filter,
    laplacian_of_gaussian,
)
from forebay.ops.filters.gaussian import gaussian_derivative

PLANE = ("y", "x")


def parabola() -> xr.DataArray:
    """Return 7 + 3 y - 2 x + 0.5 y² + 0.25 x² - 0.5 y x, which a Gaussian changes by a constant."""
    y, x = np.mgrid[:40, :40].astype(float) - 20
    values = 7 + 3 * y - 2 * x + 0.5 * y**2 + 0.25 * x**2 - 0.5 * y * x
    return xr.DataArray(values, dims=PLANE)


@pytest.mark.parametrize("sigma", [0.6, 0.65, 2, (0, 1.5), (3, 0.5)])
def test_smoothing_is_scipys(frames: xr.DataArray, sigma: Any) -> None:
    """Float64 frames give what scipy gives; float32 is within 1e-5 of the largest value."""
    expected = scipy.ndimage.gaussian_filter(
        frames.values.astype(float), sigma, mode="nearest", axes=(1, 2)
    )

    np.testing.assert_allclose(
        gaussian_filter(frames.astype(float), sigma=sigma), expected, atol=1e-9
    )
    np.testing.assert_allclose(gaussian_filter(frames, sigma=sigma), expected, atol=0.04)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1), (2, 0), (0, 2)])
def test_derivatives_are_scipys_where_its_kernels_are_good(
    frames: xr.DataArray, order: tuple[int, int]
) -> None:
    """A kernel that is wide and long leaves no difference between the two ways to sample it."""
    expected = scipy.ndimage.gaussian_filter(
        frames.values.astype(float), 1.8, order=order, mode="nearest", truncate=7.4, axes=(1, 2)
    )

    result = gaussian_filter(frames.astype(float), sigma=1.8, order=order, truncate=7.4)

    np.testing.assert_allclose(result, expected, atol=1e-5 * 4000)


@pytest.mark.parametrize("sigma", [0.5, 1, 2])
@pytest.mark.parametrize(
    ("order", "value"), [((1, 0), 3), ((0, 1), -2), ((2, 0), 1), ((0, 2), 0.5), ((1, 1), -0.5)]
)
def test_a_parabola_has_exactly_its_derivatives(
    sigma: float, order: tuple[int, int], value: float
) -> None:
    """However coarse the kernel, what is at most quadratic has the derivatives it has."""
    result = gaussian_filter(parabola(), sigma=sigma, order=order)

    assert float(result[20, 20]) == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("order", [1, 2, (0, 2)])
def test_a_bright_even_frame_has_no_derivative(order: Any) -> None:
    """A constant of 65 535 in float32 gives nothing, up to the edges."""
    frames = xr.DataArray(np.full((20, 20), 65_535, np.uint16), dims=PLANE)

    assert float(abs(gaussian_filter(frames, sigma=1.5, order=order)).max()) < 0.02


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = rng.normal(size=(2, 21, 30)).astype(np.float32)
    kernels = [(1, 1.0, 1), (2, 1.5, 2)]

    result = xp.host(gaussian_derivative(xp.array(values), kernels=kernels, truncate=4))

    expected = gaussian_derivative(values, kernels=kernels, truncate=4)
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_the_laplacian_is_the_sum_of_the_curvatures(normalised: bool) -> None:
    """A parabola has the Laplacian that it has; normalised, it is sigma² times that."""
    result = laplacian_of_gaussian(parabola(), sigma=1.5, normalised=normalised)

    assert float(result[20, 20]) == pytest.approx(1.5 * (2.25 if normalised else 1), abs=1e-10)


def test_the_laplacian_is_scipys_where_its_kernels_are_good(frames: xr.DataArray) -> None:
    """Within 1e-5 of the largest value of the frames."""
    expected = scipy.ndimage.gaussian_laplace(
        frames.values.astype(float), 1.8, mode="nearest", truncate=7.4, axes=(1, 2)
    )

    result = laplacian_of_gaussian(frames.astype(float), sigma=1.8, truncate=7.4)

    np.testing.assert_allclose(result, expected, atol=1e-5 * 4000)


def test_a_disk_answers_most_at_its_own_scale() -> None:
    """The normalised Laplacian in the middle of a disk of radius 8 peaks at sigma = 8 / √2."""
    y, x = np.mgrid[:81, :81] - 40
    disk = xr.DataArray((y**2 + x**2 <= 64).astype(float), dims=PLANE)
    sigmas = np.arange(4, 8, 0.25)

    answers = [
        float(laplacian_of_gaussian(disk, sigma=sigma, normalised=True)[40, 40]) for sigma in sigmas
    ]

    assert sigmas[np.argmin(answers)] == pytest.approx(8 / np.sqrt(2), abs=0.3)


def test_the_difference_of_gaussians_is_a_bandpass(frames: xr.DataArray) -> None:
    """It is `bandpass` with the second width a multiple of the first."""
    xr.testing.assert_identical(
        difference_of_gaussians(frames, sigma=1, ratio=2),
        bandpass(frames, noise_sigma=1, background_sigma=2),
    )


def test_derivatives_are_per_pixel(frames: xr.DataArray) -> None:
    """Where the frames have a unit, that of the result says so."""
    counts = frames.assign_attrs(units="counts")

    assert gaussian_filter(counts, sigma=1).units == "counts"
    assert gaussian_filter(counts, sigma=1, order=(1, 1)).units == "counts pixel^-2"
    assert laplacian_of_gaussian(counts, sigma=1).units == "counts pixel^-2"
    assert laplacian_of_gaussian(counts, sigma=1, normalised=True).units == "counts"


def test_a_nan_spreads_as_far_as_the_gaussian(frames: xr.DataArray) -> None:
    """A NaN pixel makes NaN of the rectangle within truncate · sigma, in its frame only."""
    noisy = frames.astype("float32")
    noisy[2, 15, 20] = np.nan

    result = np.isnan(gaussian_filter(noisy, sigma=(1, 2), truncate=2))

    rectangle = np.zeros(frames.shape, bool)
    rectangle[2, 13:18, 16:25] = True
    np.testing.assert_array_equal(result, rectangle)


@pytest.mark.parametrize("chunks", [{"t": 3}, {"y": 5, "x": (3, 17, 21)}, {"t": 2, "y": (13, 17)}])
def test_chunks_through_the_frame_leave_no_seam(
    frames: xr.DataArray, chunks: dict[str, Any]
) -> None:
    """Chunks cut through y and x, even narrower than the rim, give the eager values bit for bit."""
    lazy = frames.chunk(chunks)

    np.testing.assert_array_equal(
        gaussian_filter(lazy, sigma=(1, 2), order=(0, 1)),
        gaussian_filter(frames, sigma=(1, 2), order=(0, 1)),
    )
    np.testing.assert_array_equal(
        laplacian_of_gaussian(lazy, sigma=2), laplacian_of_gaussian(frames, sigma=2)
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sigma": -1}, "sigma is -1"),
        ({"sigma": (1, 2, 3)}, "one for each of"),
        ({"sigma": "3"}, "sigma is '3'"),
        ({"sigma": 1, "order": 3}, "order is 3, but must be at most 2"),
        ({"sigma": 1, "order": 0.5}, "order is 0.5"),
        ({"sigma": 0, "order": 1}, "a single pixel, which has no derivative"),
        ({"sigma": 9}, "frames has 30 pixels along 'y'"),
        ({"sigma": 1, "truncate": 0}, "truncate is 0"),
        ({"sigma": 1, "dims": ("y", "z")}, "'z' is needed"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        gaussian_filter(frames, **parameters)


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (laplacian_of_gaussian, {"sigma": 0}, "sigma is 0"),
        (laplacian_of_gaussian, {"sigma": 0.05}, "a single pixel"),
        (laplacian_of_gaussian, {"sigma": 8}, "frames has 30 pixels"),
        (difference_of_gaussians, {"sigma": 1, "ratio": 1}, "ratio is 1"),
        (difference_of_gaussians, {"sigma": 0}, "sigma is 0"),
    ],
)
def test_bad_parameters_of_spot_filters_are_named(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any], message: str
) -> None:
    """The others name them as well."""
    with pytest.raises(OperationError, match=message):
        function(frames, **parameters)
