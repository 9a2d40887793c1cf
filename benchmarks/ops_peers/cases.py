"""What is compared: each operation as ours, as naive Dask, and as dask-image has it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import scipy.ndimage
import scipy.signal
import xarray as xr
from benchmarks.ops_peers.scene import Given
from skimage import filters as skimage_filters
from skimage import restoration
from skimage.morphology import disk

from forebay import ops

type Made = Callable[[Given], Any]


@dataclass(frozen=True)
class Case:
    """An operation, or several in a row."""

    name: str
    """What is done."""
    ours: Made
    """With forebay."""
    naive: Made
    """With `map_blocks` and a function of another library for each step."""
    dask_image: Made | None = None
    """With dask-image, where it has all of it."""


def single(given: Given) -> Any:
    """Return the frames in float32, as a Dask array."""
    return given.pixels.astype(np.float32)


def blockwise(function: Callable[..., Any], array: Any, **options: Any) -> Any:
    """Return what a function makes of each block, of the same shape and in float32."""
    return array.map_blocks(function, dtype=np.float32, meta=np.empty((0, 0, 0), "f4"), **options)


def each_frame(function: Callable[..., Any], block: Any, **options: Any) -> Any:
    """Return what a function makes of each frame of a block."""
    return np.stack([function(frame, **options) for frame in block]).astype(np.float32)


def ndfilters() -> Any:
    """Return dask-image's filters."""
    import dask_image.ndfilters

    return dask_image.ndfilters


def difference(filtered: Callable[..., Any], array: Any, **options: Any) -> Any:
    """Return a Gaussian of one pixel less one of five."""
    narrow, wide = (
        filtered(array, sigma=(0, sigma, sigma), mode="nearest", **options) for sigma in (1, 5)
    )
    return narrow - wide


def naive_gaussian(array: Any, *, sigma: Any, mode: str) -> Any:
    """Return an array blurred by SciPy, block by block."""
    return blockwise(scipy.ndimage.gaussian_filter, array, sigma=sigma, mode=mode)


def images_gaussian(array: Any, *, sigma: Any, mode: str) -> Any:
    """Return an array blurred by dask-image."""
    return ndfilters().gaussian_filter(array, sigma, mode=mode)


def otsu(frame: Any) -> float:
    """Return scikit-image's threshold of a frame."""
    return float(skimage_filters.threshold_otsu(frame))  # type: ignore[no-untyped-call]


def otsu_masks(block: Any) -> Any:
    """Return which pixels of each frame are above its threshold."""
    return np.stack([frame > otsu(frame) for frame in block])


def corrected(given: Given) -> Any:
    """Return the frames less the dark one, by the even one, as a Dask array."""
    return (single(given) - given.dark.values) / given.flat.values


def our_correction(given: Given) -> xr.DataArray:
    """Return the same of ours."""
    return ops.flat_field(ops.subtract_dark(given.frames, given.dark), flat=given.flat)


def our_mask(given: Given) -> xr.DataArray:
    """Return what is bright in a band of sizes."""
    band = ops.bandpass(our_correction(given), background_sigma=5)
    return band > ops.otsu_threshold(band)


def our_top_hat(given: Given) -> xr.DataArray:
    """Return small bright things without hot pixels."""
    clean = ops.median_filter(our_correction(given), size=3)
    smooth = ops.gaussian_filter(clean, sigma=1)
    return ops.white_top_hat(smooth, size=11)


DISC = disk(5)[None]  # type: ignore[no-untyped-call]
SECTIONS = scipy.signal.butter(4, 0.2, output="sos")


def images_top_hat(array: Any, smoothed: Any) -> Any:
    """Return a top hat of dask-image's extremes."""
    lowest = ndfilters().minimum_filter(smoothed, footprint=DISC, mode="nearest")
    return array - ndfilters().maximum_filter(lowest, footprint=DISC, mode="nearest")


def images_smooth(given: Given) -> Any:
    """Return the corrected frames, without hot pixels and blurred, by dask-image."""
    clean = ndfilters().median_filter(corrected(given), size=(1, 3, 3), mode="nearest")
    return images_gaussian(clean, sigma=(0, 1, 1), mode="nearest")


def naive_smooth(given: Given) -> Any:
    """Return the corrected frames, without hot pixels and blurred, by SciPy."""
    clean = blockwise(scipy.ndimage.median_filter, corrected(given), size=(1, 3, 3), mode="nearest")
    return naive_gaussian(clean, sigma=(0, 1, 1), mode="nearest")


CHAINS = (
    Case(
        "dark, flat, band-pass, threshold, mask",
        our_mask,
        lambda given: difference(naive_gaussian, corrected(given)).map_blocks(
            otsu_masks, dtype=bool
        ),
        lambda given: difference(images_gaussian, corrected(given)).map_blocks(
            otsu_masks, dtype=bool
        ),
    ),
    Case(
        "dark, flat, median, blur, top hat",
        our_top_hat,
        lambda given: blockwise(
            scipy.ndimage.white_tophat, naive_smooth(given), footprint=DISC, mode="nearest"
        ),
        lambda given: images_top_hat(images_smooth(given), images_smooth(given)),
    ),
)

SINGLES = (
    Case(
        "subtract_dark",
        lambda given: ops.subtract_dark(given.frames, given.dark),
        lambda given: single(given) - given.dark.values,
    ),
    Case(
        "flat_field",
        lambda given: ops.flat_field(given.frames, flat=given.flat),
        lambda given: single(given) / given.flat.values,
    ),
    Case(
        "correct_camera, to integers",
        lambda given: ops.correct_camera(
            given.frames, dark=given.dark, flat=given.flat + given.dark, gain=0.5, dtype="uint16"
        ),
        lambda given: da.clip(da.rint(corrected(given) * np.float32(0.5)), 0, 65535).astype(
            np.uint16
        ),
    ),
    Case(
        "gaussian_filter, 1 pixel",
        lambda given: ops.gaussian_filter(given.frames, sigma=1),
        lambda given: naive_gaussian(single(given), sigma=(0, 1, 1), mode="nearest"),
        lambda given: images_gaussian(single(given), sigma=(0, 1, 1), mode="nearest"),
    ),
    Case(
        "gaussian_filter, 5 pixels",
        lambda given: ops.gaussian_filter(given.frames, sigma=5),
        lambda given: naive_gaussian(single(given), sigma=(0, 5, 5), mode="nearest"),
        lambda given: images_gaussian(single(given), sigma=(0, 5, 5), mode="nearest"),
    ),
    Case(
        "bandpass",
        lambda given: ops.bandpass(given.frames, background_sigma=5),
        lambda given: difference(naive_gaussian, single(given)),
        lambda given: difference(images_gaussian, single(given)),
    ),
    Case(
        "laplacian_of_gaussian",
        lambda given: ops.laplacian_of_gaussian(given.frames, sigma=2),
        lambda given: blockwise(
            lambda block: np.stack(
                [scipy.ndimage.gaussian_laplace(frame, 2, mode="nearest") for frame in block]
            ),
            single(given),
        ),
    ),
    Case(
        "median_filter, 3 pixels",
        lambda given: ops.median_filter(given.frames, size=3),
        lambda given: blockwise(
            scipy.ndimage.median_filter, single(given), size=(1, 3, 3), mode="nearest"
        ),
        lambda given: ndfilters().median_filter(single(given), size=(1, 3, 3), mode="nearest"),
    ),
    Case(
        "median_filter, 5 pixels",
        lambda given: ops.median_filter(given.frames, size=5),
        lambda given: blockwise(
            scipy.ndimage.median_filter, single(given), size=(1, 5, 5), mode="nearest"
        ),
        lambda given: ndfilters().median_filter(single(given), size=(1, 5, 5), mode="nearest"),
    ),
    Case(
        "erosion, disc of 11 pixels",
        lambda given: ops.erosion(given.frames, size=11),
        lambda given: blockwise(
            scipy.ndimage.minimum_filter, single(given), footprint=DISC, mode="nearest"
        ),
        lambda given: ndfilters().minimum_filter(single(given), footprint=DISC, mode="nearest"),
    ),
    Case(
        "white_top_hat, square of 11 pixels",
        lambda given: ops.white_top_hat(given.frames, size=11, footprint="square"),
        lambda given: blockwise(
            scipy.ndimage.white_tophat, single(given), size=(1, 11, 11), mode="nearest"
        ),
    ),
    Case(
        "rolling_ball, 5 pixels",
        lambda given: ops.rolling_ball(given.frames, radius=5),
        lambda given: blockwise(
            lambda block: each_frame(restoration.rolling_ball, block, radius=5), single(given)
        ),
    ),
    Case(
        "fourier_filter",
        lambda given: ops.fourier_filter(given.frames, kind="low", cutoff=0.1, edge="gaussian"),
        lambda given: blockwise(
            lambda block: np.fft.irfft2(
                scipy.ndimage.fourier_gaussian(np.fft.rfft2(block), (0, 2, 2), n=block.shape[-1]),
                s=block.shape[-2:],
            ).astype(np.float32),
            single(given),
        ),
    ),
    Case(
        "power_spectrum",
        lambda given: ops.power_spectrum(given.frames, detrend=None, window=None),
        lambda given: blockwise(
            lambda block: np.fft.fftshift(
                (abs(np.fft.fft2(block)) ** 2 / block[0].size).astype(np.float32), axes=(-2, -1)
            ),
            single(given),
        ),
    ),
    Case(
        "otsu_threshold",
        lambda given: ops.otsu_threshold(given.frames),
        lambda given: given.pixels.map_blocks(
            lambda block: np.array([otsu(frame) for frame in block]),
            drop_axis=(1, 2),
            dtype=np.float64,
        ),
    ),
    Case(
        "local_threshold",
        lambda given: ops.local_threshold(given.frames, size=31),
        lambda given: blockwise(
            lambda block: each_frame(
                skimage_filters.threshold_local, block, block_size=31, mode="nearest"
            ),
            single(given),
        ),
        lambda given: ndfilters().threshold_local(
            single(given), (1, 31, 31), mode="nearest", param=(0, 5, 5)
        ),
    ),
    Case(
        "label",
        lambda given: ops.label(given.frames > 500),
        lambda given: (given.pixels > 500).map_blocks(
            lambda block: np.stack([scipy.ndimage.label(frame)[0] for frame in block]),
            dtype=np.int32,
        ),
    ),
    Case(
        "running_mean, 5 frames",
        lambda given: ops.running_mean(given.frames, window=5),
        lambda given: single(given).map_overlap(
            scipy.ndimage.uniform_filter1d,
            depth=(2, 0, 0),
            boundary="none",
            size=5,
            axis=0,
            mode="nearest",
            dtype=np.float32,
        ),
        lambda given: ndfilters().uniform_filter(single(given), (5, 1, 1), mode="nearest"),
    ),
    Case(
        "running_median, 3 frames",
        lambda given: ops.running_median(given.frames, window=3),
        lambda given: single(given).map_overlap(
            scipy.ndimage.median_filter,
            depth=(1, 0, 0),
            boundary="none",
            size=(3, 1, 1),
            mode="nearest",
            dtype=np.float32,
        ),
        lambda given: ndfilters().median_filter(single(given), size=(3, 1, 1), mode="nearest"),
    ),
    Case(
        "iir_filter",
        lambda given: ops.iir_filter(given.frames, sos=SECTIONS, before="zero"),
        lambda given: blockwise(
            lambda block: scipy.signal.sosfilt(SECTIONS, block, axis=0),
            single(given).rechunk({0: -1, 1: "auto"}),
        ),
    ),
    Case(
        "richardson_lucy, 10 steps",
        lambda given: ops.richardson_lucy(
            given.frames,
            psf=ops.gaussian_psf(sigma=1.5),
            iterations=10,
            accelerate=False,
            edge="wrap",
        ),
        lambda given: blockwise(
            lambda block: each_frame(
                restoration.richardson_lucy,
                block,
                psf=ops.gaussian_psf(sigma=1.5).values.astype("f4"),
                num_iter=10,
                clip=False,
            ),
            single(given),
        ),
    ),
    Case(
        "wavelet_denoise",
        lambda given: ops.wavelet_denoise(given.frames),
        lambda given: blockwise(
            lambda block: each_frame(restoration.denoise_wavelet, block, wavelet="db2"),
            single(given),
        ),
    ),
    Case(
        "nonlocal_means",
        lambda given: ops.nonlocal_means(given.frames, strength=30),
        lambda given: blockwise(
            lambda block: each_frame(
                restoration.denoise_nl_means, block, patch_size=5, patch_distance=6, h=30.0
            ),
            single(given),
        ),
    ),
    Case(
        "bilateral_filter",
        lambda given: ops.bilateral_filter(given.frames, sigma=1, value_sigma=40),
        lambda given: blockwise(
            lambda block: each_frame(
                restoration.denoise_bilateral, block, sigma_spatial=1, sigma_color=40.0
            ),
            single(given),
        ),
    ),
)
