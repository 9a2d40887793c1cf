"""One threshold for each frame, from its histogram."""

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_result, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_whole
from forebay.ops.detection.histogram import histograms
from forebay.ops.errors import OperationError

MOST_BINS = 2**20
GROUP_VALUES = 2**22
"""Frames are worked on together up to this many pixels and bins, or one by one."""


def otsu_threshold(
    frames: xr.DataArray, *, bins: int | None = None, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return the threshold of each frame that parts its pixels best into two classes.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    bins
        Of the histogram, equally wide from the least to the largest pixel of each frame. None
        takes a bin for each value of integers of up to 16 bits, and 256 for other dtypes.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dims`; name, attributes and unit of `frames`; float32, or float64 for float64
        frames. Pixels above it are the bright class: ``frames > otsu_threshold(frames)``. A frame
        of one value has this value.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or `bins` is out of range.

    Notes
    -----
    The threshold is the middle of the bin t that maximises the variance between the classes,
    ``w0(t) * w1(t) * (m0(t) - m1(t))**2``, where w are the numbers of pixels up to t and above it,
    and m their means; of equal ones the first. N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62
    (1979), eq. 14. It is what ``skimage.filters.threshold_otsu`` gives.

    A NaN or infinite pixel makes the threshold of its frame NaN.

    Dask chunks that cut through `dims` are merged, lazily. Needs about three times the frame in
    float64 as scratch, and six histograms.

    Float32 is within 1e-4 of the largest value where the same bin is best.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[10, 11, 12, 90, 91]]], "uint8"), dims=("t", "y", "x"))
    >>> otsu_threshold(frames).values
    array([12.], dtype=float32)
    """
    return _thresholds(frames, bins, dims, otsu)


def triangle_threshold(
    frames: xr.DataArray, *, bins: int | None = None, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return the threshold of each frame at the foot of its histogram's one large peak.

    For frames that are mostly ground, with few bright (or few dark) pixels that form no peak of
    their own.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    bins
        Of the histogram, as for `otsu_threshold`.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dims`; name, attributes and unit of `frames`; float32, or float64 for float64
        frames. A frame of one value has this value.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or `bins` is out of range.

    Notes
    -----
    A line goes from the top of the peak to the far end of the histogram's longer tail; the
    threshold is the bin on that tail whose top is furthest below it. G. W. Zack, W. E. Rogers and
    S. A. Latt, J. Histochem. Cytochem. 25, 741 (1977). It is what
    ``skimage.filters.threshold_triangle`` gives.

    A NaN or infinite pixel makes the threshold of its frame NaN.

    Dask chunks that cut through `dims` are merged, lazily. Needs about three times the frame in
    float64 as scratch, and six histograms.

    Float32 is within 1e-4 of the largest value where the same bin is farthest.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.repeat([10, 11, 12, 13, 90], [50, 20, 4, 1, 1]).astype("uint8")
    >>> triangle_threshold(xr.DataArray(values[None], dims=("y", "x"))).item()
    14.0
    """
    return _thresholds(frames, bins, dims, triangle)


def _thresholds(
    frames: xr.DataArray,
    bins: int | None,
    dims: Sequence[Hashable],
    choose: Callable[[Array], Array],
) -> xr.DataArray:
    check_frames(frames, dims)
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a frame")
    if bins is not None and check_whole("bins", bins, least=2) > MOST_BINS:
        raise OperationError(f"bins is {bins}, but must be at most {MOST_BINS}")
    kwargs = {"ndim": len(dims), "bins": bins, "choose": choose}
    dtype = real_dtype(frames.dtype)
    return apply(frame_thresholds, frames, dims, dtype=dtype, new_sizes={}, kwargs=kwargs)


def frame_thresholds(
    array: Array, *, ndim: int, bins: int | None, choose: Callable[[Array], Array]
) -> Array:
    """Return the middle of the bin that `choose` takes, for each frame of the last `ndim` axes."""
    xp = namespace(array)
    leading = array.shape[: array.ndim - ndim]
    stack = xp.reshape(array, (int(np.prod(leading)), -1))
    group = max(1, GROUP_VALUES // max(stack.shape[1], bins or 1))
    found = []
    for start, stop in pairwise([*range(0, stack.shape[0], group), stack.shape[0]]):
        each = histograms(stack[start:stop, :], bins)
        values = each.first + xp.astype(choose(each.counts), xp.float64) * each.width
        found.append(xp.where(each.finite, values, xp.full_like(values, xp.nan)))
    return xp.reshape(as_result(xp.concat(found), array), leading)


def otsu(counts: Array) -> Array:
    """Return the bin of each row of `counts` whose threshold parts it best."""
    xp = namespace(counts)
    bins = xp.arange(counts.shape[1], dtype=xp.float64, device=device(counts))
    below = xp.cumulative_sum(counts, axis=1)
    weighted = xp.cumulative_sum(counts * bins, axis=1)
    total, moment = below[:, -1:], weighted[:, -1:]
    below, weighted = below[:, :-1], weighted[:, :-1]
    above = total - below
    both = (below > 0) & (above > 0)
    one = xp.ones_like(below)
    apart = weighted / xp.where(both, below, one) - (moment - weighted) / xp.where(both, above, one)
    return xp.argmax(xp.where(both, below * above * apart**2, -one), axis=1)


def triangle(counts: Array) -> Array:
    """Return the bin of each row of `counts` that is furthest below the line along its tail."""
    xp = namespace(counts)
    bins = counts.shape[1]
    filled = xp.astype(counts > 0, xp.uint8)
    low, high = xp.argmax(filled, axis=1), bins - 1 - xp.argmax(xp.flip(filled, axis=1), axis=1)
    peak = xp.argmax(counts, axis=1)
    turned = peak - low < high - peak
    counts = xp.where(turned[:, None], xp.flip(counts, axis=1), counts)
    start = xp.where(turned, bins - 1 - high, low)
    width = xp.where(turned, bins - 1 - peak, peak) - start
    place = xp.arange(bins, dtype=xp.int64, device=device(counts)) - start[:, None]
    height = xp.max(counts, axis=1)[:, None]
    depth = height * xp.astype(place, xp.float64) - xp.astype(width, xp.float64)[:, None] * counts
    on_tail = (place >= 0) & (place < width[:, None])
    level = xp.argmax(xp.where(on_tail, depth, xp.full_like(depth, -xp.inf)), axis=1)
    return xp.where(turned, bins - 1 - level, level)
