"""How a point looks: by formula for two dimensions, or measured on beads."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, ndimage, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.filters.gaussian import gaussian_weights

FIFTH_DARK_RING = 16.470630050877634
"""The fifth zero of the Bessel function J₁."""

LARGEST = 4096
"""Pixels along one dimension of a point-spread function, at most."""


def gaussian_psf(
    *,
    sigma: float | Sequence[float],
    truncate: float = 4.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return a Gaussian point-spread function that adds up to 1.

    Parameters
    ----------
    sigma
        Standard deviation in pixels, above 0: one number, or one for each of `dims`.
    truncate
        Where the Gaussian ends, in standard deviations.
    dims
        Of the result.

    Returns
    -------
    xarray.DataArray
        Float64, on the host, odd sizes; coordinates along `dims` in pixels, 0 in the middle.

    Raises
    ------
    OperationError
        If a parameter is out of range.

    Notes
    -----
    The Gaussian is sampled in the middle of each pixel, as `bandpass` does.

    It is ``exp(-r² / (2 sigma²))``, divided by its sum, in float64. Numbers that are not finite
    are refused.

    Examples
    --------
    >>> psf = gaussian_psf(sigma=(2.0, 1.0, 1.0), dims=("z", "y", "x"))
    >>> psf.shape, float(psf.sum().round(12))
    ((17, 9, 9), 1.0)
    """
    check_dims(dims)
    sigmas = sigma if isinstance(sigma, Sequence) else [sigma] * len(dims)
    if len(sigmas) != len(dims):
        raise OperationError(
            f"sigma has {len(sigmas)} values, but must be one number, or one for each of "
            f"{tuple(dims)}"
        )
    check_number("truncate", truncate, above=0)
    values = np.ones(())
    for each in sigmas:
        check_number("sigma", each, above=0, most=LARGEST / (2 * truncate + 2))
        values = np.multiply.outer(values, gaussian_weights(each, truncate))
    return centred(values, dims, [1.0] * len(dims))


def airy_psf(
    *,
    wavelength: float,
    numerical_aperture: float,
    pixel_size: float,
    size: int | None = None,
    subpixels: int = 5,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the point-spread function of a lens without aberrations, in focus.

    Parameters
    ----------
    wavelength
        Of the light in vacuum; any unit of length.
    numerical_aperture
        Of the lens.
    pixel_size
        Of a camera pixel in the object: its side by the magnification; in the unit of
        `wavelength`.
    size
        Pixels along each of `dims`, odd; None reaches to the fifth dark ring, within which are
        96 % of the light.
    subpixels
        A pixel's value is the mean of this many points along each of its sides, 1 to 64.
    dims
        The two dimensions of the result.

    Returns
    -------
    xarray.DataArray
        Float64, on the host, adds up to 1; coordinates along `dims` in the unit of `wavelength`,
        0 in the middle.

    Raises
    ------
    OperationError
        If a parameter is out of range.

    Notes
    -----
    ``(2 J₁(v) / v)²`` with ``v = 2π / wavelength · numerical_aperture · r``: Born and Wolf,
    Principles of Optics, 7th edition, section 8.5.2.

    It is real numbers only: what is not finite is refused.

    Examples
    --------
    >>> psf = airy_psf(wavelength=0.52, numerical_aperture=1.2, pixel_size=0.1)
    >>> psf.shape, float(psf.sum().round(12))
    ((25, 25), 1.0)
    """
    check_dims(dims, count=2)
    check_number("wavelength", wavelength, above=0)
    check_number("numerical_aperture", numerical_aperture, above=0)
    check_number("pixel_size", pixel_size, above=0)
    check_whole("subpixels", subpixels, least=1)
    check_number("subpixels", subpixels, most=64)
    wavenumber = 2 * math.pi / wavelength * numerical_aperture
    if size is None:
        reach = math.ceil(FIFTH_DARK_RING / wavenumber / pixel_size)
        size = 2 * reach + 1
    check_size("size", size)
    place = subpixel_places(size, subpixels) * pixel_size
    v = wavenumber * np.hypot(place[:, None], place[None, :])
    amplitude = np.ones_like(v)
    np.divide(2 * scipy.special.j1(v), v, out=amplitude, where=v > 0)
    values = pixel_means(amplitude**2, subpixels)
    return centred(values, dims, [pixel_size] * 2)


def measured_psf(
    beads: xr.DataArray, *, dim: Hashable = "bead", dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return the mean of the images of small beads, without their background, adding up to 1.

    Parameters
    ----------
    beads
        Crops with one bead each about the middle, integer or float, with `dim`, `dims` and no
        others; NumPy or CuPy, eager or Dask.
    dim
        The dimension along which the beads follow each other.
    dims
        The dimensions of the result; of odd sizes, at least 3.

    Returns
    -------
    xarray.DataArray
        With `dims`, in their order in `beads`; float32, or float64 for float64 beads; nowhere
        negative. Name and attributes stay; a unit goes.

    Raises
    ------
    OperationError
        If a dimension is missing or one too many, the dtype is not real, or a size is even or too
        small.

    Notes
    -----
    From each crop the median of its outermost pixels is taken, and what is below is zero. The
    crop is divided by its sum and brought to the middle by its centroid, with cubic splines; where
    that reaches beyond its edge there is zero, as where it overshoots below zero, and each adds up
    to 1 again. What the beads have in common is their mean.
    A bead is as large as it is: the result is sharp only where beads are small beside it.

    A crop without light above its background, or with a NaN, makes the result NaN, which no
    deconvolution takes. With Dask each chunk of crops is a task; the sums of chunks are put together
    by fours, float64, which is the eager result to rounding. Chunks that cut through `dims` are
    merged, lazily.

    What is divided by its sum is ``max(crop - median(rim), 0)``. Float32 is within 3e-7 of the
    largest value.

    A task needs about twice its chunk in float32 as scratch, and fourteen times one crop.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> spot = 7 + 90 * gaussian_psf(sigma=1.2)
    >>> psf = measured_psf(xr.concat([spot, 2 * spot], "bead"))
    >>> bool(abs(psf - gaussian_psf(sigma=1.2)).max() < 1e-3)
    True
    """
    check_dims(dims)
    check_frames(beads, [dim, *dims], name="beads")
    if len(beads.dims) != len(dims) + 1:
        raise OperationError(
            f"beads has the dimensions {beads.dims}, but must have {(dim, *dims)} alone; "
            "select or stack the others"
        )
    for each in dims:
        check_size(f"the size of beads along {each!r}", beads.sizes[each], least=3)
    order = [each for each in beads.dims if each in dims]
    spots = apply(spots_in_the_middle, beads, order, dtype=np.dtype(np.float64), kwargs={})
    total = spots.sum([dim], skipna=False, keep_attrs=True)
    dtype = real_dtype(beads.dtype)
    result = apply(as_psf, total, order, dtype=dtype, kwargs={"dtype": dtype})
    result.attrs.pop("units", None)
    return result


def spots_in_the_middle(array: Array) -> Array:
    """Return the spots along the first axis, float64, each in the middle and adding up to 1."""
    xp, filters = namespace(array), ndimage(array)
    shape = array.shape[1:]
    inside = np.zeros(shape, bool)
    inside[tuple(slice(1, -1) for _ in shape)] = True
    rim = xp.asarray(np.flatnonzero(~inside), device=device(array))
    result = xp.empty(array.shape, dtype=xp.float64, device=device(array))
    for number in range(array.shape[0]):
        spot = xp.astype(as_real(array[number, ...]), xp.float64)
        values = xp.sort(xp.take(xp.reshape(spot, (-1,)), rim))
        count = values.shape[0]
        spot = normalised(spot - (values[(count - 1) // 2] + values[count // 2]) / 2)
        if not bool(xp.all(xp.isfinite(spot))):
            result[number, ...] = xp.nan
            continue
        moves = [
            (size - 1) / 2 - centroid for size, centroid in zip(shape, centroids(spot), strict=True)
        ]
        result[number, ...] = normalised(filters.shift(spot, moves, order=3, mode="constant"))
    return result


def as_psf(total: Array, *, dtype: np.dtype[Any]) -> Array:
    """Return what spots add up to as a point-spread function of some dtype."""
    return namespace(total).astype(normalised(total), dtype)


def normalised(values: Array) -> Array:
    """Return `values` with zero for what is below it, divided by their sum; NaN if that is zero."""
    xp = namespace(values)
    positive = xp.where(values < 0, xp.zeros_like(values), values)
    total = xp.sum(positive)
    nan = xp.asarray(xp.nan, dtype=values.dtype, device=device(values))
    return positive / xp.where(total > 0, total, nan)


def centroids(values: Array) -> list[float]:
    """Return where, along each axis, the middle of `values`, which add up to 1, lies."""
    xp = namespace(values)
    result = []
    for axis, size in enumerate(values.shape):
        others = tuple(other for other in range(values.ndim) if other != axis)
        place = xp.arange(size, dtype=values.dtype, device=device(values))
        result.append(float(xp.sum(xp.sum(values, axis=others) * place)))
    return result


def centred(
    values: npt.NDArray[Any], dims: Sequence[Hashable], steps: Sequence[float]
) -> xr.DataArray:
    """Return `values`, made to add up to 1, with coordinates that are 0 in the middle."""
    coords = {
        dim: step * (np.arange(size) - size // 2)
        for dim, size, step in zip(dims, values.shape, steps, strict=True)
    }
    return xr.DataArray(values / values.sum(), dims=list(dims), coords=coords, name="psf")


def subpixel_places(size: int, subpixels: int) -> npt.NDArray[np.float64]:
    """Return where the points within `size` pixels are, in pixels from the middle."""
    count = size * subpixels
    return (np.arange(count) - (count - 1) / 2) / subpixels


def pixel_means(values: npt.NDArray[Any], subpixels: int) -> npt.NDArray[Any]:
    """Return the mean over the points within each pixel of the last two axes."""
    height, width = (size // subpixels for size in values.shape[-2:])
    blocks = values.reshape(*values.shape[:-2], height, subpixels, width, subpixels)
    means: npt.NDArray[Any] = blocks.mean(axis=(-3, -1))
    return means


def check_dims(dims: Sequence[Hashable], *, count: int | None = None) -> None:
    """Raise `OperationError` unless `dims` are `count` different names, or some."""
    if not dims or len(set(dims)) != len(dims) or (count is not None and len(dims) != count):
        number = "some" if count is None else str(count)
        raise OperationError(f"dims is {tuple(dims)}, but must be {number} different names")


def check_size(name: str, size: object, *, least: int = 1) -> None:
    """Raise `OperationError` unless `size` is one that a point-spread function may have."""
    if check_whole(name, size, least=least, odd=True) > LARGEST:
        raise OperationError(f"{name} is {size!r}, but must be at most {LARGEST}")
