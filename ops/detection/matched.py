"""A known shape in noise of unknown strength: what stands out at a constant false-alarm rate."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import device
from numpy.typing import ArrayLike

from forebay.ops._arrays import (
    Array,
    empty_like_chunk,
    finite_or_nan,
    namespace,
    ndimage,
    real_dtype,
)
from forebay.ops._blocks import replaced
from forebay.ops._checks import check_frames, check_kernel, check_whole
from forebay.ops.detection.false_alarms import check_rate, exponential_factor, gaussian_factor
from forebay.ops.errors import OperationError


def matched_filter(
    frames: xr.DataArray,
    *,
    template: ArrayLike,
    guard: int = 1,
    training: int = 4,
    false_alarm_rate: float | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return by how many standard deviations `template` stands out at each pixel.

    Ground and noise are estimated around each pixel, so that the rate at which noise alone passes
    a threshold is the same all over the frame.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask. The
        noise of neighbouring pixels is independent and normal, its strength even over the
        training pixels.
    template
        The shape of what is looked for, without ground; an odd number of pixels along each of
        `dims`, in their order. Its scale does not matter.
    guard
        Width of the frame of pixels around the template that are left out, for what reaches
        beyond the template.
    training
        Width of the frame of pixels around these, from which ground and noise are estimated.
    false_alarm_rate
        With it, the result is zero wherever it is not above the threshold that noise exceeds at
        this rate per pixel; None leaves all values.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`, but for ``units``, since it is a
        ratio; float32, or float64 for float64 frames. NaN where the training pixels would reach
        beyond the edge, and where a NaN or infinite pixel is within reach.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, the template is empty, even-sized, zero
        or not finite, a parameter is out of range, or the frames are smaller than template, guard
        and training pixels.

    Notes
    -----
    With the template h scaled to ``Σ h² = 1``, S = Σ h, and mean m and standard deviation s of the
    N training pixels (N - 1 in the denominator), the result is ``(Σ h x - S m) / (s sqrt(1 + S² /
    N))``. In independent normal noise it has Student's t distribution of N - 1 degrees of
    freedom exactly, whatever the ground and the strength of the noise are, which gives the
    threshold. This is cell-averaging CFAR with guard cells (H. M. Finn and R. S. Johnson, RCA
    Review 29, 414 (1968)) for normal noise; the filter is that of G. L. Turin, IRE Trans. Inf.
    Theory 6, 311 (1960). `cell_averaging_cfar` is for power. Where the training pixels are all
    the same, s is zero: the result is then 0, or infinite where the template stands out.

    Dask chunks may cut through `dims`: each task borrows the rim that it needs from its
    neighbours. Sums are in float64; results are within 1e-5 of float64 ones, relative to the
    largest. Needs about six times the frame in float64 as scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(1).normal(100, 2, (64, 64))
    >>> values[30:33, 40:43] += 10
    >>> frames = xr.DataArray(values, dims=("y", "x"))
    >>> found = matched_filter(frames, template=np.ones((3, 3)), false_alarm_rate=1e-6)
    >>> peak = found.fillna(0).argmax(...)
    >>> int(peak["y"]), int(peak["x"])
    (31, 41)
    """
    check_frames(frames, dims)
    shape = checked_template(template, dims)
    inner, outer = check_ring(frames, dims, shape.shape, guard, training)
    threshold = None
    if false_alarm_rate is not None:
        threshold = gaussian_factor(check_rate(false_alarm_rate), cell_count(inner, outer))
    kwargs = {"template": shape, "inner": inner, "outer": outer, "threshold": threshold}
    return _on_neighbourhoods(template_ratio, frames, dims, outer, kwargs)


def cell_averaging_cfar(
    frames: xr.DataArray,
    *,
    false_alarm_rate: float,
    guard: int = 1,
    training: int = 4,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return how many times its surroundings' mean a pixel is, where that is no chance.

    For power: spectrograms, speckle, radar. `matched_filter` is for frames of a camera.

    Parameters
    ----------
    frames
        Not negative; integer or float, any dimensions that include `dims`; NumPy or CuPy, eager
        or Dask. The noise is independent from pixel to pixel and exponentially distributed.
    false_alarm_rate
        At which noise alone gives anything but zero, per pixel.
    guard
        Width of the frame of pixels around each that are left out.
    training
        Width of the frame of pixels around these, whose mean is taken.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`, but for ``units``; float32, or
        float64 for float64 frames. Zero where the ratio is not above the threshold; NaN where the
        training pixels would reach beyond the edge, and where a NaN or infinite pixel is within
        reach.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than guard and training pixels.

    Notes
    -----
    The threshold of the ratio is ``N * (false_alarm_rate ** (-1 / N) - 1)`` for N training pixels:
    H. M. Finn and R. S. Johnson, RCA Review 29, 414 (1968).

    Dask chunks may cut through `dims`. Sums are in float64. Needs about four times the frame in
    float64 as scratch.

    Float32 is within 5e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(1).exponential(3, (64, 64))
    >>> values[30, 40] = 90
    >>> found = cell_averaging_cfar(xr.DataArray(values, dims=("y", "x")), false_alarm_rate=1e-6)
    >>> np.argwhere(found.values > 0).tolist()
    [[30, 40]]
    """
    check_frames(frames, dims)
    inner, outer = check_ring(frames, dims, (1,) * len(dims), guard, training)
    factor = exponential_factor(check_rate(false_alarm_rate), cell_count(inner, outer))
    kwargs = {"inner": inner, "outer": outer, "threshold": factor}
    return _on_neighbourhoods(power_ratio, frames, dims, outer, kwargs)


def checked_template(template: ArrayLike, dims: Sequence[Hashable]) -> np.ndarray[Any, Any]:
    """Return `template` in float64, its squares adding up to one."""
    try:
        values = np.asarray(template, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OperationError(
            f"template is a {type(template).__name__}, but must be an array of real numbers"
        ) from error
    if values.ndim != len(dims) or any(size % 2 == 0 for size in values.shape):
        raise OperationError(
            f"template has the shape {values.shape}, but must have an odd number of pixels along "
            f"each of {tuple(dims)}; pad it with zeros"
        )
    if not np.isfinite(values).all() or not values.any():
        raise OperationError("template must be finite and not all zero")
    values = values / np.abs(values).max()
    scaled: np.ndarray[Any, Any] = values / np.sqrt((values**2).sum())
    return scaled


def check_ring(
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    shape: Sequence[int],
    guard: int,
    training: int,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how far guard and training pixels reach from the middle, along each of `dims`."""
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a frame")
    check_whole("guard", guard, least=0)
    check_whole("training", training, least=1)
    inner = tuple(size // 2 + guard for size in shape)
    outer = tuple(reach + training for reach in inner)
    for dim, reach in zip(dims, outer, strict=True):
        check_kernel(frames, [dim], 2 * reach + 1, f"guard={guard} with training={training}")
    return inner, outer


def cell_count(inner: Sequence[int], outer: Sequence[int]) -> int:
    """Return how many training pixels there are."""
    small, large = (
        int(np.prod([2 * reach + 1 for reach in reaches])) for reaches in (inner, outer)
    )
    return large - small


def _on_neighbourhoods(
    function: Any,
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    outer: Sequence[int],
    kwargs: dict[str, Any],
) -> xr.DataArray:
    dtype = real_dtype(frames.dtype)
    axes = tuple(frames.get_axis_num(dim) for dim in dims)
    kwargs = {**kwargs, "axes": axes, "result": dtype.name}
    if frames.chunks is None:
        data = function(frames.data, **kwargs)
    else:
        depth = {
            axis: reach if len(frames.chunks[axis]) > 1 else 0
            for axis, reach in zip(axes, outer, strict=True)
        }
        data = frames.data.map_overlap(
            function,
            depth=depth,
            boundary="none",
            dtype=dtype,
            meta=empty_like_chunk(frames.data, dtype),
            **kwargs,
        )
    result = replaced(frames, data)
    result.attrs = {key: value for key, value in result.attrs.items() if key != "units"}
    return result


def template_ratio(
    array: Array,
    *,
    template: np.ndarray[Any, Any],
    inner: Sequence[int],
    outer: Sequence[int],
    threshold: float | None,
    axes: Sequence[int],
    result: str,
) -> Array:
    """Return `array` under `template`, less the ground, in standard deviations of the noise."""
    xp, filters = namespace(array), ndimage(array)
    wide = finite_or_nan(array)
    # Taken out first, the level of the frame costs the sums of squares no digits.
    level = xp.mean(xp.where(xp.isnan(wide), xp.zeros_like(wide), wide))
    wide = wide - level
    count, total = cell_count(inner, outer), float(template.sum())
    mean = ring_sum(wide, inner, outer, axes) / count
    squares = ring_sum(wide * wide, inner, outer, axes) / count - mean * mean
    deviation = xp.sqrt(xp.clip(squares, 0, None) * (count / (count - 1)))
    kernel = xp.asarray(spread_over(template, axes, array.ndim), device=device(array))
    signal = filters.correlate(wide, kernel, mode="nearest") - total * mean
    scale = deviation * float(np.sqrt(1 + total**2 / count))
    flat = scale <= 1e-12 * xp.abs(signal)
    ratio = signal / xp.where(flat, xp.ones_like(scale), scale)
    endless = xp.where(signal > 0, xp.full_like(signal, xp.inf), xp.full_like(signal, -xp.inf))
    ratio = xp.where(flat & (signal != 0), endless, ratio)
    return finished(ratio, threshold, outer, axes, result)


def power_ratio(
    array: Array,
    *,
    inner: Sequence[int],
    outer: Sequence[int],
    threshold: float,
    axes: Sequence[int],
    result: str,
) -> Array:
    """Return `array` over the mean of its training pixels, or zero below `threshold`."""
    xp = namespace(array)
    wide = finite_or_nan(array)
    mean = ring_sum(wide, inner, outer, axes) / cell_count(inner, outer)
    dark = mean <= 0
    ratio = wide / xp.where(dark, xp.ones_like(mean), mean)
    ratio = xp.where(dark, xp.where(wide > 0, xp.full_like(wide, xp.inf), wide * 0), ratio)
    return finished(ratio, threshold, outer, axes, result)


def ring_sum(
    array: Array, inner: Sequence[int], outer: Sequence[int], axes: Sequence[int]
) -> Array:
    """Return the sum over the pixels within `outer` and not within `inner` of each pixel."""
    xp, filters = namespace(array), ndimage(array)
    sums = []
    for reaches in (outer, inner):
        total = array
        for axis, reach in zip(axes, reaches, strict=True):
            ones = xp.ones(2 * reach + 1, dtype=xp.float64, device=device(array))
            total = filters.correlate1d(total, ones, axis=axis, mode="nearest")
        sums.append(total)
    return sums[0] - sums[1]


def spread_over(
    template: np.ndarray[Any, Any], axes: Sequence[int], ndim: int
) -> np.ndarray[Any, Any]:
    """Return `template` with its axes at `axes` of `ndim`, and a length of one along others."""
    turned = template.transpose(np.argsort(axes))
    return turned.reshape(
        [template.shape[axes.index(axis)] if axis in axes else 1 for axis in range(ndim)]
    )


def finished(
    ratio: Array, threshold: float | None, outer: Sequence[int], axes: Sequence[int], result: str
) -> Array:
    """Return `ratio` in `dtype`, zero up to `threshold`, NaN within `outer` of the edge."""
    xp = namespace(ratio)
    if threshold is not None:
        ratio = xp.where(ratio <= threshold, xp.zeros_like(ratio), ratio)
    for axis, reach in zip(axes, outer, strict=True):
        place = xp.arange(ratio.shape[axis], device=device(ratio))
        inside = (place >= reach) & (place < ratio.shape[axis] - reach)
        shape = tuple(-1 if other == axis else 1 for other in range(ratio.ndim))
        ratio = xp.where(xp.reshape(inside, shape), ratio, xp.full_like(ratio, xp.nan))
    return xp.astype(ratio, getattr(xp, result))
