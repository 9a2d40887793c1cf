"""Pixels that do not tell the truth: found by their statistics, filled in from their neighbours."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_kernel, check_number, check_whole
from forebay.ops._moments import moments_along
from forebay.ops.correction.alignment import aligned
from forebay.ops.errors import OperationError
from forebay.ops.filters.median import local_median

NORMAL_SPREAD = 1.482602218505602
"""The standard deviation of normal values over the median of their distances from the median."""


MOST_GATHERED = 2**20
"""Values from around bad pixels that are looked at together."""


def bad_pixels(
    frames: xr.DataArray,
    *,
    threshold: float = 6.0,
    window: int | None = None,
    dim: str = "t",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return which pixels are too bright, too dark, too noisy, too quiet or not finite.

    Parameters
    ----------
    frames
        Integer or float, dark frames or an even field, any dimensions that include `dim` and
        `dims`; NumPy or CuPy, eager or Dask. Ten frames at least, or the noise of a pixel is not
        known well; of a single one it is not looked at.
    threshold
        How far from the others a pixel may be, in robust standard deviations, above 0.
    window
        Compare the mean of a pixel with those in a square of so many pixels around it, odd, which
        allows for uneven light; None compares with the whole frame.
    dim
        The dimension that the frames are along.
    dims
        The two dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Boolean, true where bad; without `dim`, else with the dimensions, coordinates and name of
        `frames`. Use those of dark frames and of an even field together: ``one | other``.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or a parameter is out of range.

    Notes
    -----
    The mean and the standard deviation of each pixel along `dim`, float64, are compared with their
    medians over the frame. The robust standard deviation is 1.4826 times the median distance from
    there: Rousseeuw and Croux, J. Am. Stat. Assoc. 88, 1273 (1993). Where more than half of the
    pixels are equal it is zero, and every other pixel is bad. A pixel that is NaN or infinite in
    any frame is bad, and the others are judged without it.

    With Dask the statistics hold one chunk at a time, and up to three pairs of float64 frames for
    each four times that the run is longer; they are then merged to whole frames, lazily. A task
    needs little more as scratch than seven float64 frames.

    Float32 is exact but for pixels within 1e-5 of the threshold.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).normal(100, 2, (20, 8, 8))
    >>> frames = xr.DataArray(values, dims=("t", "y", "x"))
    >>> frames[:, 3, 5] += 50
    >>> np.argwhere(bad_pixels(frames).values).tolist()
    [[3, 5]]
    """
    check_frames(frames, [dim, *dims])
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a frame")
    kwargs: dict[str, Any] = {
        "threshold": check_number("threshold", threshold, above=0),
        "ndim": len(dims),
        "window": None,
    }
    if window is not None:
        check_kernel(
            frames, dims, check_whole("window", window, least=3, odd=True), f"window={window}"
        )
    mean, variance = moments_along(frames, dim)
    bad = apply(outliers, mean, dims, dtype=np.dtype(bool), kwargs={**kwargs, "window": window})
    if frames.sizes[dim] > 1:
        bad = bad | apply(outliers, variance**0.5, dims, dtype=np.dtype(bool), kwargs=kwargs)
    return bad.rename(frames.name).drop_attrs()


def replace_bad_pixels(
    frames: xr.DataArray,
    bad: xr.DataArray,
    *,
    size: int = 3,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` with the bad pixels replaced by the median of the good ones around them.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    bad
        Boolean, true where bad, as `bad_pixels` gives it; its dimensions include `dims`, and are
        among those of `frames`. On the same side (host or device) as `frames`.
    size
        Side of the square that good pixels are looked for in, odd, at least 3.
    dims
        The two dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`; float32, or float64 for float64
        frames. Good pixels are as they were. A bad pixel without a good one in reach is NaN.

    Raises
    ------
    OperationError
        If the mask does not fit the frames or is not boolean, the dtype is not real, or `size` is
        out of range.

    Notes
    -----
    Beyond the edge there are no good pixels, and one that is NaN is not good. Each frame is
    repaired by itself.

    Dask chunks that cut through `dims` are merged, lazily, so that a task holds whole frames. A
    task needs about four times its chunk in float32 as scratch, and up to 64 MB for the pixels
    around bad ones.

    It is the median of the good ones of ``size × size`` pixels. Float32 is within 1e-7 of the
    largest value: the mean of two is rounded.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[1, 2, 3], [4, 99, 6], [7, 8, 9]]]), dims=("t", "y", "x"))
    >>> replace_bad_pixels(frames, frames[0] == 99).values[0, 1].tolist()
    [4.0, 5.0, 6.0]
    """
    check_frames(frames, dims)
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but must name two dimensions")
    kind = getattr(bad, "dtype", type(bad).__name__)
    if kind != bool:
        raise OperationError(
            f"bad is of {kind}, but must be an xarray.DataArray of bool, true where bad; compare "
            "it with something first"
        )
    size = check_whole("size", size, least=3, odd=True)
    _, mask = aligned(frames, bad.astype(np.uint8), "bad")
    missing = [dim for dim in dims if dim not in mask.dims]
    if missing:
        raise OperationError(
            f"bad has the dimensions {bad.dims}, but {missing[0]!r} is needed; expand it first"
        )
    return apply(
        repaired,
        frames,
        dims,
        dtype=real_dtype(frames.dtype),
        beside=[(mask, dims)],
        kwargs={"reach": size // 2},
    )


def outliers(array: Array, *, threshold: float, ndim: int, window: int | None) -> Array:
    """Return what is further from the median over the last `ndim` axes than `threshold`.

    In robust standard deviations; from the median of a window around it if there is one.
    """
    xp = namespace(array)
    axes = tuple(range(array.ndim - ndim, array.ndim))
    known = xp.isfinite(array)
    flat = (*array.shape[:-ndim], -1)
    kept = (*array.shape[:-ndim], *(1,) * ndim)
    usual = xp.reshape(median_of_known(xp.reshape(array, flat), xp.reshape(known, flat)), kept)
    filled = xp.where(known, array, usual)
    if window is not None:
        usual = local_median(filled, size=window, footprint="square", axes=axes)
    distance = xp.abs(filled - usual)
    spread = median_of_known(xp.reshape(distance, flat), xp.reshape(known, flat))
    return (distance > threshold * NORMAL_SPREAD * xp.reshape(spread, kept)) | ~known


def repaired(array: Array, bad: Array, *, reach: int) -> Array:
    """Return `array` with its `bad` pixels replaced by the median of the others around them.

    The frames are along the last two axes; `bad` is not zero where a pixel is bad. Only what is
    around bad pixels is gathered.
    """
    xp, where = namespace(array), device(array)
    real = as_real(array)
    mask = xp.broadcast_to(xp.astype(bad, xp.bool), real.shape)
    place = xp.nonzero(mask)
    steps = [
        (dy, dx)
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy, dx) != (0, 0)
    ]
    down, right = (xp.asarray([step[at] for step in steps], device=where) for at in (0, 1))
    medians, batch = [], max(MOST_GATHERED // len(steps), 1)
    count = place[0].shape[0]
    for start in range(0, max(count, 1), batch):
        stop = min(start + batch, count)
        *leading, y, x = (along[start:stop, None] for along in place)
        medians.append(_median_around(real, mask, (*leading, y + down, x + right)))
    result = xp.asarray(real, copy=True)
    result[mask] = xp.concat(medians)
    return result


def _median_around(array: Array, bad: Array, place: Sequence[Array]) -> Array:
    """Return the median over the last axis of the good values at each `place` in the frames."""
    xp = namespace(array)
    *leading, y, x = place
    height, width = array.shape[-2:]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    index = xp.clip(y, 0, height - 1) * width + xp.clip(x, 0, width - 1)
    stride = height * width
    for axis in range(array.ndim - 3, -1, -1):
        index = index + leading[axis] * stride
        stride *= array.shape[axis]
    flat = xp.reshape(index, (-1,))
    values = xp.reshape(xp.take(xp.reshape(array, (-1,)), flat), index.shape)
    unknown = xp.reshape(xp.take(xp.reshape(bad, (-1,)), flat), index.shape) | xp.isnan(values)
    return median_of_known(values, inside & ~unknown)


def median_of_known(values: Array, known: Array) -> Array:
    """Return the median over the last axis of those `values` that are `known`; NaN if none is."""
    xp, where = namespace(values), device(values)
    unknown = xp.asarray(xp.inf, dtype=values.dtype, device=where)
    ordered = xp.sort(xp.where(known, values, unknown), axis=-1)
    count = xp.sum(xp.astype(known, xp.int64), axis=-1)[..., None]
    index = xp.concat(
        [xp.clip(count - 1, 0) // 2, xp.clip(count // 2, 0, values.shape[-1] - 1)], axis=-1
    )
    middle = xp.take_along_axis(ordered, index, axis=-1)
    nan = xp.asarray(xp.nan, dtype=values.dtype, device=where)
    return xp.where(count[..., 0] > 0, middle[..., 0] / 2 + middle[..., 1] / 2, nan)
