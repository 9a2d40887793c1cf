"""Gaussians: smoothing, derivatives, and the differences that pick out a band or a spot."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import device, is_numpy_array

from forebay.ops._arrays import Array, as_real, namespace, ndimage
from forebay.ops._checks import check_frames, check_kernel, check_number, check_whole, per_dim
from forebay.ops._overlap import apply_with_rim
from forebay.ops.errors import OperationError
from forebay.ops.filters.banded import weighted_sums
from forebay.ops.filters.parts import in_slabs

HIGHEST_ORDER = 2
"""The highest derivative that there is a kernel for."""


def gaussian_filter(
    frames: xr.DataArray,
    *,
    sigma: float | Sequence[float],
    order: int | Sequence[int] = 0,
    truncate: float = 4.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` blurred with a Gaussian, or a derivative of that.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    sigma
        Standard deviation of the Gaussian, pixels, one for all of `dims` or one for each; 0 does
        not blur along a dimension.
    order
        Of the derivative, one for all of `dims` or one for each: 0 blurs, 1 gives the slope,
        2 the curvature. ``order=(0, 1)`` is the slope along the second of `dims`, ``(1, 1)`` the
        mixed derivative.
    truncate
        Where the Gaussian ends, in standard deviations.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name and attributes; float32 (within 5e-7 of the largest
        value of `frames`), or float64 for float64 frames. Derivatives are per pixel, whatever the
        coordinates, and ``units``, if there are any, say so.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the Gaussian.

    Notes
    -----
    Beyond the edge the frame goes on with its outermost pixel. A NaN makes NaN of all pixels
    within ``truncate * sigma`` along each axis.

    The kernel g(k) is the Gaussian at whole pixels, its sum one. Those of the derivatives are
    ``k g / Σ k² g`` and ``a (k² - Σ k² g) g``, with a such that half the sum of ``k²`` times it is
    one. So a constant has no slope and no curvature, and a straight line and a parabola have
    exactly theirs, however the kernel is cut off. `scipy.ndimage.gaussian_filter` takes the
    derivatives of the continuous Gaussian at whole pixels, which come near these for
    ``sigma >= 1`` and a large `truncate`, and give a constant a curvature.

    Dask chunks may cut through `dims`: each task borrows the rim that it needs from its
    neighbours, so that the result is the eager one, but for the last bit of a float32 pixel here
    and there. A rim wider than the smallest chunk has the chunks merged. A task needs
    about its chunk in float32 as scratch, and four frames.

    Gaussian derivatives: Lindeberg, Scale-Space Theory in Computer Vision (1994).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ramp = xr.DataArray(np.tile(3.0 * np.arange(16), (16, 1)), dims=("y", "x"))
    >>> slope = gaussian_filter(ramp, sigma=1, order=(0, 1))
    >>> round(float(slope[8, 8]), 6)
    3.0
    """
    check_frames(frames, dims)
    sigmas = [check_number("sigma", each, least=0) for each in per_dim("sigma", sigma, dims)]
    orders = [check_order(each) for each in per_dim("order", order, dims)]
    truncate = check_number("truncate", truncate, above=0)
    rims = {}
    for dim, width, derivative in zip(dims, sigmas, orders, strict=True):
        rims[dim] = kernel_radius(width, truncate) if width > 0 else 0
        if derivative and rims[dim] < 1:
            raise OperationError(
                f"sigma is {width:g} along {dim!r}, and truncate {truncate:g}: the kernel is a "
                "single pixel, which has no derivative; use a wider one"
            )
        check_kernel(frames, [dim], 2 * rims[dim] + 1, f"sigma={width:g}")
    axes = [frames.get_axis_num(dim) for dim in dims]
    kwargs: dict[str, Any] = {
        "kernels": tuple(zip(axes, sigmas, orders, strict=True)),
        "truncate": truncate,
    }
    result = apply_with_rim(gaussian_derivative, frames, rims, kwargs=kwargs)
    return with_unit_per_pixel(result, sum(orders))


def laplacian_of_gaussian(
    frames: xr.DataArray,
    *,
    sigma: float,
    normalised: bool = False,
    truncate: float = 4.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the sum of the second derivatives of `frames` blurred with a Gaussian.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    sigma
        Standard deviation of the Gaussian, pixels, above 0. A disk of radius r answers most
        strongly in its middle at ``sigma = r / sqrt(2)``.
    normalised
        Whether to multiply by ``sigma ** 2``, so that spots of different sizes compare, and the
        unit stays that of `frames`.
    truncate
        Where the Gaussian ends, in standard deviations.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name and attributes; float32, or float64 for float64 frames.
        Negative on bright spots, zero for a constant frame; per pixel squared unless `normalised`.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the Gaussian.

    Notes
    -----
    Edges, NaN, Dask and the kernels are those of `gaussian_filter`. A task needs about its
    chunk in float32 as scratch, and five frames.

    Marr and Hildreth, Proc. R. Soc. Lond. B 207, 187 (1980); the normalisation: Lindeberg, Int. J.
    Comput. Vis. 30, 79 (1998).

    Float32 is within 5e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:33, :33] - 16
    >>> bowl = xr.DataArray((y**2 + x**2).astype("float64"), dims=("y", "x"))
    >>> round(float(laplacian_of_gaussian(bowl, sigma=2)[16, 16]), 6)
    4.0
    """
    check_frames(frames, dims)
    width = check_number("sigma", sigma, above=0)
    truncate = check_number("truncate", truncate, above=0)
    radius = kernel_radius(width, truncate)
    if radius < 1:
        raise OperationError(
            f"sigma is {width:g}, and truncate {truncate:g}: the kernel is a single pixel, which "
            "has no derivative; use a wider one"
        )
    check_kernel(frames, dims, 2 * radius + 1, f"sigma={width:g}")
    kwargs: dict[str, Any] = {
        "sigma": width,
        "truncate": truncate,
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
        "scale": width**2 if normalised else 1.0,
    }
    result = apply_with_rim(gaussian_laplacian, frames, dict.fromkeys(dims, radius), kwargs=kwargs)
    return with_unit_per_pixel(result, 0 if normalised else 2)


def bandpass(
    frames: xr.DataArray,
    *,
    noise_sigma: float = 1.0,
    background_sigma: float,
    truncate: float = 4.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` blurred over `noise_sigma`, less `frames` blurred over `background_sigma`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    noise_sigma
        Standard deviation, in pixels, of the Gaussian that smooths noise; 0 does not smooth.
    background_sigma
        Standard deviation, in pixels, of the Gaussian that makes the background; above
        `noise_sigma`. About the radius of what is to be kept, or larger.
    truncate
        Where the Gaussians end, in standard deviations.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-5 of the
        largest value of what float64 gives), or float64 for float64 frames. A constant frame
        gives zero.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the larger Gaussian.

    Notes
    -----
    Beyond the edge the frame goes on with its outermost pixel. A NaN makes NaN of all pixels
    within ``truncate * background_sigma`` along each axis.

    Dask chunks may cut through `dims`: each task borrows the rim that it needs from its
    neighbours, so that the result is the eager one, but for the last bit of a float32 pixel here
    and there. A rim wider than the smallest chunk has the chunks merged.

    The difference of Gaussians as a band-pass: Marr and Hildreth, Proc. R. Soc. Lond. B 207, 187
    (1980).

    A task needs little more than its result as scratch, and six frames in float32.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.full((1, 32, 32), 100, "uint8"), dims=("t", "y", "x"))
    >>> float(abs(bandpass(frames, background_sigma=3)).max()) < 1e-3
    True
    """
    check_frames(frames, dims)
    low = check_number("noise_sigma", noise_sigma, least=0)
    high = check_number("background_sigma", background_sigma, above=low)
    radius = kernel_radius(high, check_number("truncate", truncate, above=0))
    check_kernel(frames, dims, 2 * radius + 1, f"background_sigma={background_sigma}")
    axes = tuple(frames.get_axis_num(dim) for dim in dims)
    kwargs: dict[str, Any] = {"sigmas": (low, high), "truncate": truncate, "axes": axes}
    return apply_with_rim(gaussian_difference, frames, dict.fromkeys(dims, radius), kwargs=kwargs)


def difference_of_gaussians(
    frames: xr.DataArray,
    *,
    sigma: float,
    ratio: float = 1.6,
    truncate: float = 4.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` blurred over `sigma`, less `frames` blurred over ``ratio * sigma``.

    It is `bandpass` in the terms of spot detection: positive on bright spots with a radius of
    about ``sqrt(2) * sigma``.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    sigma
        Standard deviation of the narrower Gaussian, pixels, above 0.
    ratio
        Of the wider Gaussian to the narrower one, above 1. With 1.6 the difference comes
        nearest to a Laplacian; about ``-(ratio - 1) * sigma ** 2`` times it, the nearer the
        smaller the ratio.
    truncate
        Where the Gaussians end, in standard deviations.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        As of `bandpass`.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the wider Gaussian.

    Notes
    -----
    Edges, NaN and Dask are as for `bandpass`. A task needs about its chunk in float32 as
    scratch, and five frames.

    The ratio: Marr and Hildreth, Proc. R. Soc. Lond. B 207, 187 (1980), appendix B.

    Float32 is within 2e-5 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:33, :33] - 16
    >>> spot = xr.DataArray(np.exp(-(y**2 + x**2) / 18), dims=("y", "x"))
    >>> int(difference_of_gaussians(spot, sigma=2).values.argmax()) == 16 * 33 + 16
    True
    """
    low = check_number("sigma", sigma, above=0)
    high = low * check_number("ratio", ratio, above=1)
    return bandpass(frames, noise_sigma=low, background_sigma=high, truncate=truncate, dims=dims)


def gaussian_derivative(
    array: Array, *, kernels: Sequence[tuple[int, float, int]], truncate: float
) -> Array:
    """Return `array` filtered with each of `kernels`, which are an axis, a sigma and an order.

    Derivatives come first: what they leave is small, and so is its rounding.
    """

    def filtered(slab: Array) -> Array:
        real = as_real(slab)
        for axis, sigma, order in sorted(kernels, key=lambda kernel: -kernel[2]):
            real = gaussian(real, sigma=sigma, truncate=truncate, axes=(axis,), order=order)
        return real

    return frame_by_frame(filtered, array, [axis for axis, _, _ in kernels])


def gaussian_laplacian(
    array: Array, *, sigma: float, truncate: float, axes: Sequence[int], scale: float
) -> Array:
    """Return `scale` times the sum of the second derivatives of the blurred `array` along `axes`."""

    def laplacian(slab: Array) -> Array:
        total = namespace(slab).zeros_like(as_real(slab))
        for axis in axes:
            kernels = [(other, sigma, 2 if other == axis else 0) for other in axes]
            total = total + gaussian_derivative(slab, kernels=kernels, truncate=truncate)
        return total * scale

    return frame_by_frame(laplacian, array, axes)


def gaussian_difference(
    array: Array, *, sigmas: tuple[float, float], truncate: float, axes: Sequence[int]
) -> Array:
    """Return `array` blurred over the first of `sigmas` less over the second, along `axes`."""

    def difference(slab: Array) -> Array:
        real = as_real(slab)
        low, high = (gaussian(real, sigma=sigma, truncate=truncate, axes=axes) for sigma in sigmas)
        return low - high

    return frame_by_frame(difference, array, axes)


def frame_by_frame(function: Callable[[Array], Array], array: Array, axes: Sequence[int]) -> Array:
    """Return ``function(array)``, which filters along `axes`, for few frames at a time.

    A frame has two axes at least: row by row it would take many times as long.
    """
    return in_slabs(function, array, [*axes, *range(max(array.ndim - 2, 0), array.ndim)])


def gaussian(
    array: Array, *, sigma: float, truncate: float, axes: Sequence[int], order: int = 0
) -> Array:
    """Return `array` blurred along `axes`; beyond the edge its outermost values go on."""
    if sigma == 0:
        return array
    xp, given = namespace(array), gaussian_weights(sigma, truncate, order)
    # With zeros in its matrices a product would spread a NaN; and slopes of constants are zero only
    # where neighbours are subtracted before they are weighed.
    if order == 0 and is_numpy_array(array) and all_finite(array):
        return blurred(array, given, [axis % array.ndim for axis in axes])
    filters, weights = ndimage(array), xp.asarray(given, device=device(array))
    for axis in axes:
        array = filters.correlate1d(array, weights, axis=axis, mode="nearest")
    return array


def blurred(
    array: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], axes: Sequence[int]
) -> np.ndarray[Any, Any]:
    """Return `array` weighed along `axes`."""

    def weighed(slab: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        for axis in axes:
            slab = weighted_sums(slab, weights, axis)
        return slab

    found: np.ndarray[Any, Any] = frame_by_frame(weighed, array, axes)
    return found


def all_finite(array: np.ndarray[Any, Any]) -> bool:
    """Tell whether there is no NaN and nothing infinite; a NaN is least and largest at once."""
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def gaussian_weights(sigma: float, truncate: float, order: int = 0) -> np.ndarray[Any, Any]:
    """Return a sampled Gaussian, float64, whose values add up to one, or a derivative of it."""
    radius = kernel_radius(sigma, truncate)
    place = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (place / sigma) ** 2)
    total: np.ndarray[Any, Any] = weights / weights.sum()
    if order == 0:
        return total
    second = (place**2 * total).sum()
    if order == 1:
        slope: np.ndarray[Any, Any] = place * total / second
        return slope
    shape = (place**2 - second) * total
    curvature: np.ndarray[Any, Any] = shape * 2 / (place**2 * shape).sum()
    # Of sums that cancel, the last bits are left: they would count with bright frames.
    curvature[radius] -= curvature.sum()
    return curvature


def kernel_radius(sigma: float, truncate: float) -> int:
    """Return how many pixels a Gaussian reaches to either side, rounded to the nearest."""
    radius = truncate * sigma + 0.5
    if radius >= 2**31:
        raise OperationError(f"a Gaussian of {sigma:g} pixels is too wide; use a smaller one")
    return int(radius)


def check_order(order: int) -> int:
    """Return the order of a derivative if there is a kernel for it."""
    if check_whole("order", order, least=0) > HIGHEST_ORDER:
        raise OperationError(
            f"order is {order!r}, but must be at most {HIGHEST_ORDER}; filter the result again "
            "for higher derivatives"
        )
    return int(order)


def with_unit_per_pixel(result: xr.DataArray, power: int) -> xr.DataArray:
    """Return `result`, its ``units``, if there are any, divided by pixels as often as `power`."""
    units = result.attrs.get("units")
    if units is None or power == 0:
        return result
    return result.assign_attrs(units=f"{units} pixel^-{power}")
