"""Filters and corrections on real frames: 1 µm spheres in water, 8 bit, 424 × 640 pixels."""

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import skimage.morphology
import skimage.restoration
import xarray as xr
from PIL import Image

from forebay.ops import (
    bad_pixels,
    bandpass,
    correct_photobleaching,
    difference_of_gaussians,
    estimate_illumination,
    flat_field,
    gaussian_filter,
    median_filter,
    nonlocal_means,
    remove_cosmic_rays,
    remove_fixed_pattern,
    replace_bad_pixels,
    rolling_ball,
    running_median,
    wavelet_denoise,
    white_top_hat,
)

DATA = Path(__file__).parents[2] / "examples" / "data" / "bulk_water"


@pytest.fixture(scope="module")
def water() -> xr.DataArray:
    """Give a part of the first twelve frames, one of the equal colour channels."""
    files = sorted(DATA.glob("*.png"))[:12]
    stack = np.stack([np.atleast_3d(np.asarray(Image.open(file)))[..., 0] for file in files])
    return xr.DataArray(stack[:, 40:200, 60:260], dims=("t", "y", "x"))


def test_smoothing_is_scipys(water: xr.DataArray) -> None:
    """Gaussian and median of 8-bit frames are those of scipy, within the rounding of float32."""
    first = water[0].values

    blurred = scipy.ndimage.gaussian_filter(first.astype(float), 2.5, mode="nearest")
    median = scipy.ndimage.median_filter(first, 5, mode="nearest")

    np.testing.assert_allclose(gaussian_filter(water[0], sigma=2.5), blurred, atol=1e-5 * 255)
    np.testing.assert_array_equal(median_filter(water[0], size=5), median)


def test_morphology_is_scikit_images(water: xr.DataArray) -> None:
    """The top hat by a disc of 11 pixels is that of scikit-image, pixel by pixel."""
    footprint = skimage.morphology.disk(5)  # type: ignore[no-untyped-call]
    expected = skimage.morphology.white_tophat(water[0].values, footprint, mode="ignore")

    np.testing.assert_array_equal(white_top_hat(water[0], size=11), expected)


def test_a_ball_finds_the_ground_between_the_spheres(water: xr.DataArray) -> None:
    """The ball stays below the inverted frame, and does not follow the spheres up."""
    inverted = 255 - water[0].astype("float32")

    ground = rolling_ball(inverted, radius=15)

    assert float((ground - inverted).max()) < 1e-3
    assert float(ground.std()) < 0.7 * float(inverted.std())
    assert float(ground.max()) < float(inverted.max()) - 10


def test_spots_are_where_the_bandpass_has_them(water: xr.DataArray) -> None:
    """The difference of Gaussians in the terms of spots is the band-pass."""
    spots = difference_of_gaussians(255 - water.astype("float32"), sigma=3)

    xr.testing.assert_identical(
        spots, bandpass(255 - water.astype("float32"), noise_sigma=3, background_sigma=3 * 1.6)
    )


def test_denoising_is_scikit_images(water: xr.DataArray) -> None:
    """Wavelets agree with scikit-image to rounding; non-local means, whose small weights it drops, to 3 %."""
    frame = water[0].values.astype(float)
    shrunk = skimage.restoration.denoise_wavelet(
        frame, sigma=3, wavelet="db2", wavelet_levels=3, method="BayesShrink", rescale_sigma=False
    )
    alike = skimage.restoration.denoise_nl_means(
        frame, patch_size=5, patch_distance=3, h=4, sigma=3, fast_mode=True
    )

    wavelet = wavelet_denoise(water[0], levels=3, noise_sigma=3)
    means = nonlocal_means(water[0], strength=4, search_size=7, noise_sigma=3)

    np.testing.assert_allclose(wavelet, shrunk, atol=1e-5 * 255)
    np.testing.assert_allclose(means[6:-6, 6:-6], alike[6:-6, 6:-6], rtol=0.03)


def test_spheres_that_pass_are_not_in_the_running_median(water: xr.DataArray) -> None:
    """It is scipy's along t, and has less contrast than the frames."""
    expected = scipy.ndimage.median_filter(water.values, (7, 1, 1), mode="nearest")

    result = running_median(water.chunk({"t": 5}), window=7)

    np.testing.assert_array_equal(result, expected)
    assert float(result[6].std()) < float(water[6].std())


def test_planted_defects_are_found_and_filled_in(
    water: xr.DataArray, rng: np.random.Generator
) -> None:
    """Stuck pixels in real frames are found, few others are, and what replaces them fits in."""
    stuck = rng.random(water.shape[1:]) < 0.002
    spoiled = water.copy(data=np.where(stuck, 255, water.values))

    mask = bad_pixels(spoiled, window=5, threshold=12)
    repaired = replace_bad_pixels(spoiled, mask)

    assert mask.values[stuck].mean() > 0.95
    assert mask.values[~stuck].mean() < 0.04
    before, after = (
        np.sqrt(((each - water.astype(float)).values[:, stuck] ** 2).mean())
        for each in (spoiled.astype(float), repaired)
    )
    assert after < 0.25 * before


def test_hits_are_removed_and_spheres_are_not(
    water: xr.DataArray, rng: np.random.Generator
) -> None:
    """Single bright pixels go, and hardly anything else changes."""
    some = water[:3].astype("float32")
    hit = rng.random(some.shape) < 5e-4
    struck = some + 300 * hit

    result = remove_cosmic_rays(struck, read_noise=3)

    changed = (result != struck).values
    assert changed[hit].mean() > 0.95
    assert changed[~hit].mean() < 0.005


def test_what_was_imposed_on_the_frames_is_taken_out_again(
    water: xr.DataArray, rng: np.random.Generator
) -> None:
    """Fading, shifted rows and a vignette, put on real frames, are gone after the corrections."""
    plain = water.astype("float64")
    fade = xr.DataArray(np.exp(-np.arange(12) / 10), dims="t")
    bleached = correct_photobleaching((plain * fade).transpose(*plain.dims))
    means = bleached.mean(("y", "x"))
    assert float(means.std() / means.mean()) < 0.01

    rows = xr.DataArray(rng.normal(0, 8, (12, 160)), dims=("t", "y"))
    levelled = remove_fixed_pattern((plain + rows).transpose(*plain.dims), along="rows")
    assert float(abs(levelled - plain).std()) < 0.25 * 8

    y, x = np.mgrid[-1:1:160j, -1:1:200j]
    light = xr.DataArray(1 - 0.3 * (y**2 + x**2), dims=("y", "x"))
    dimmed = (plain * light).transpose(*plain.dims)
    even = flat_field(dimmed, flat=estimate_illumination(dimmed, degree=2)).mean("t")
    uneven = dimmed.mean("t")
    assert float(even.std() / even.mean()) < 0.5 * float(uneven.std() / uneven.mean())
