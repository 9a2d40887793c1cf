"""Smoothing by shrinking the small coefficients of a wavelet transform, which are mostly noise."""

import math
from collections.abc import Hashable, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, in_place_at, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import (
    check_choice,
    check_frames,
    check_kernel,
    check_number,
    check_whole,
)
from forebay.ops.errors import OperationError
from forebay.ops.filters.parts import in_parts, in_slabs

NORMAL_QUARTILE = 0.6744897501960817
"""Half of all normal deviates are within this of the mean, in standard deviations."""


def wavelet_denoise(
    frames: xr.DataArray,
    *,
    wavelet: str = "db2",
    levels: int | None = None,
    method: Literal["bayes", "visu"] = "bayes",
    noise_sigma: float | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` with the small coefficients of their wavelet transform shrunk to zero.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    wavelet
        An orthogonal or biorthogonal one that PyWavelets knows, such as ``"haar"``, ``"db2"``,
        ``"sym4"`` or ``"bior2.2"``.
    levels
        How often the length that is looked at doubles, at least 1; None takes three fewer than
        the frames have room for, or one.
    method
        ``"bayes"`` (BayesShrink) fits a threshold to each band, ``noise² / signal``; ``"visu"``
        (VisuShrink) takes ``noise * sqrt(2 ln n)`` for all of a frame's n pixels, which smooths
        more.
    noise_sigma
        Standard deviation of the noise, in the unit of `frames`, at least 0; None takes each
        frame's own: the median of the finest coefficients' sizes over 0.6745.
    dims
        The dimensions to transform along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 5e-6 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the frames
        have no room for `levels`.

    Notes
    -----
    Coefficients c become ``sign(c) max(|c| - T, 0)``. BayesShrink: Chang, Yu and Vetterli, IEEE
    Trans. Image Process. 9, 1532 (2000); a band with no signal is set to zero.
    VisuShrink and the noise: Donoho and Johnstone, Biometrika 81, 425 (1994).

    The transform is that of PyWavelets in its mode ``"symmetric"``: beyond the edge the frame is
    mirrored. A NaN or infinite pixel makes the whole frame NaN.

    Dask chunks that cut through `dims` are merged, lazily, so that a task holds whole frames. A
    task needs about its chunk in float32 as scratch, and eight frames.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> noise = np.random.default_rng(0).normal(0, 5, (64, 64))
    >>> frame = xr.DataArray(noise + 100 * (np.arange(64) > 31), dims=("y", "x"))
    >>> smooth = wavelet_denoise(frame, levels=3)
    >>> bool(smooth[:, :30].std() < 2.5)
    True
    """
    check_frames(frames, dims)
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a frame")
    check_choice("method", method, ("bayes", "visu"))
    bank = filter_bank(wavelet)
    check_kernel(frames, dims, max(2, len(bank[0]) - 1), f"wavelet={wavelet!r}")
    room = min(most_levels(frames.sizes[dim], len(bank[0])) for dim in dims)
    if levels is None:
        levels = max(room - 3, 1)
    if check_whole("levels", levels, least=1) > max(room, 1):
        raise OperationError(
            f"levels is {levels}, but frames with {dict(frames.sizes)} have room for "
            f"{max(room, 1)} with wavelet={wavelet!r}; use fewer, or larger frames"
        )
    if noise_sigma is not None:
        check_number("noise_sigma", noise_sigma, least=0)
    kwargs: dict[str, Any] = {
        "ndim": len(dims),
        "bank": bank,
        "levels": levels,
        "bayes": method == "bayes",
        "noise_sigma": noise_sigma,
    }
    return apply(denoised, frames, dims, dtype=real_dtype(frames.dtype), kwargs=kwargs)


def most_levels(size: int, taps: int) -> int:
    """Return how often `size` can be halved until a filter is as long as what is left.

    Examples
    --------
    >>> most_levels(64, 4), most_levels(5, 8)
    (4, 0)
    """
    return max(int(math.log2(size / (taps - 1))), 0) if size >= taps - 1 else 0


def filter_bank(wavelet: object) -> tuple[tuple[float, ...], ...]:
    """Return the four filters of `wavelet`: low and high, to take apart and to put together."""
    import pywt

    if not isinstance(wavelet, str) or wavelet not in pywt.wavelist(kind="discrete"):
        raise OperationError(
            f"wavelet is {wavelet!r}, but must be a discrete one that PyWavelets knows; "
            'pywt.wavelist(kind="discrete") lists them'
        )
    return tuple(tuple(taps) for taps in pywt.Wavelet(wavelet).filter_bank)


def denoised(array: Array, *, ndim: int, **parameters: Any) -> Array:
    """Return `array`, whose frames are along the last `ndim` axes, denoised a few at a time."""
    axes = range(array.ndim - ndim, array.ndim)

    def denoise(real: Array) -> Array:
        return denoised_together(real, ndim=ndim, **parameters)

    return in_slabs(lambda slab: in_parts(denoise, slab, axes), array, axes)


def denoised_together(
    real: Array,
    *,
    ndim: int,
    bank: Sequence[Sequence[float]],
    levels: int,
    bayes: bool,
    noise_sigma: float | None,
) -> Array:
    """Return frames with the coefficients of their transform over the last `ndim` axes shrunk."""
    xp = namespace(real)
    axes = tuple(range(-ndim, 0))
    finest = "d" * ndim
    finite = xp.all(xp.isfinite(real), axis=axes, keepdims=True)
    approximation, levels_of_details = xp.where(finite, real, xp.zeros_like(real)), []
    for _ in range(levels):
        bands = taken_apart(approximation, bank, axes)
        approximation = bands.pop("a" * ndim)
        levels_of_details.append(bands)
    sigma = (
        xp.asarray(noise_sigma, dtype=real.dtype, device=device(real))
        if (noise_sigma is not None)
        else noise_of(levels_of_details[0][finest], ndim)
    )
    universal = sigma * math.sqrt(2 * math.log(math.prod(real.shape[-ndim:])))
    shapes = [real.shape, *(bands[finest].shape for bands in levels_of_details[:-1])]
    for bands, shape in zip(reversed(levels_of_details), reversed(shapes), strict=True):
        for name, band in bands.items():
            threshold = bayes_threshold(band, sigma, axes) if bayes else universal
            bands[name] = shrunk(band, threshold)
        bands["a" * ndim] = approximation
        approximation = put_together(bands, bank, axes, shape)
    nan = xp.asarray(xp.nan, dtype=real.dtype, device=device(real))
    return xp.where(finite, approximation, nan)


def noise_of(band: Array, ndim: int) -> Array:
    """Return the standard deviation of normal noise whose sizes have the median that `band` has.

    Over the last `ndim` axes, which are kept with length one.
    """
    xp = namespace(band)
    count = math.prod(band.shape[-ndim:])
    sizes = in_place_at(
        xp.reshape(xp.abs(band), (*band.shape[:-ndim], -1)), (count - 1) // 2, count // 2
    )
    median = (sizes[..., (count - 1) // 2] + sizes[..., count // 2]) / 2
    return xp.reshape(median, (*band.shape[:-ndim], *(1,) * ndim)) / NORMAL_QUARTILE


def bayes_threshold(band: Array, sigma: Array, axes: Sequence[int]) -> Array:
    """Return ``sigma² / s`` for each band, where s is what is left of its spread without `sigma`.

    Where nothing is left it is the largest coefficient, so that none stays.
    """
    xp = namespace(band)
    signal = xp.sqrt(xp.clip(xp.mean(band**2, axis=tuple(axes), keepdims=True) - sigma**2, 0))
    largest = xp.max(xp.abs(band), axis=tuple(axes), keepdims=True)
    alone = xp.where(signal > 0, signal, xp.ones_like(signal))
    return xp.where(signal > 0, sigma**2 / alone, largest)


def shrunk(band: Array, threshold: Array) -> Array:
    """Return the coefficients, each nearer to zero by `threshold`, or zero."""
    xp = namespace(band)
    return xp.sign(band) * xp.clip(xp.abs(band) - threshold, 0)


def taken_apart(
    array: Array, bank: Sequence[Sequence[float]], axes: Sequence[int]
) -> dict[str, Array]:
    """Return the bands of one level, named by ``"a"`` or ``"d"`` for each of `axes`."""
    bands = {"": array}
    for axis in axes:
        bands = {
            name + letter: analysed(band, taps, axis)
            for name, band in bands.items()
            for letter, taps in zip("ad", bank[:2], strict=True)
        }
    return bands


def put_together(
    bands: dict[str, Array],
    bank: Sequence[Sequence[float]],
    axes: Sequence[int],
    shape: Sequence[int],
) -> Array:
    """Return the array of `shape` that `taken_apart` gave `bands` of."""
    for axis in reversed(axes):
        names = ["".join(letters) for letters in product("ad", repeat=len(axes) + axis)]
        size = shape[axis]
        bands = {
            name: synthesised(bands[name + "a"], bank[2], axis, size)
            + synthesised(bands[name + "d"], bank[3], axis, size)
            for name in names
        }
    return bands[""]


def analysed(array: Array, taps: Sequence[float], axis: int) -> Array:
    """Return every second value of `array`, mirrored at its ends, convolved with `taps`."""
    xp, where = namespace(array), device(array)
    size, width = array.shape[axis], len(taps)
    place = np.arange(2 - width, size + width - 1) % (2 * size)
    place = np.minimum(place, 2 * size - 1 - place)
    array = xp.take(array, xp.asarray(place, device=where), axis=axis)
    count = (size + width - 1) // 2
    total = None
    for index, tap in enumerate(reversed(taps)):
        part = array[window(axis, slice(index, index + 2 * count - 1, 2))] * tap
        total = part if total is None else total + part
    return total


def synthesised(band: Array, taps: Sequence[float], axis: int, size: int) -> Array:
    """Return the first `size` values of `band`, zeros put in between, convolved with `taps`.

    Even and odd places see every second tap each.
    """
    xp = namespace(band)
    half = len(taps) // 2
    count = band.shape[axis] - half + 1
    sides = []
    for parity in (0, 1):
        total = None
        for index, tap in enumerate(reversed(taps[parity::2])):
            part = band[window(axis, slice(index, index + count))] * tap
            total = part if total is None else total + part
        sides.append(total)
    # A new axis after this one, then merged with it, puts the two in turn.
    axis = axis % band.ndim
    both = xp.stack(sides, axis=axis + 1)
    merged = xp.reshape(both, (*band.shape[:axis], 2 * count, *band.shape[axis + 1 :]))
    return merged[window(axis - band.ndim, slice(0, size))]


def window(axis: int, part: slice) -> tuple[Any, ...]:
    """Return the index that takes `part` of a negative `axis` and all of the others."""
    return (..., part, *(slice(None),) * (-axis - 1))
