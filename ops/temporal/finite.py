"""Filters in time that look at a fixed number of frames."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, ndimage
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops._overlap import apply_with_rim
from forebay.ops.errors import OperationError
from forebay.ops.filters.median import median_filter
from forebay.ops.filters.moving_sums import moving_sums
from forebay.ops.filters.parts import in_slabs
from forebay.ops.filters.shifts import padded


def running_median(frames: xr.DataArray, *, window: int, dim: Hashable = "t") -> xr.DataArray:
    """Return the median of each pixel over the frames around each frame.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    window
        How many frames, odd; as many before as after. What stays in a pixel for fewer than half
        of them is left out: a background that may drift.
    dim
        The dimension to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames. Exact: every value is one that the pixel had.

    Raises
    ------
    OperationError
        If `dim` is missing, the dtype is not real, `window` is not allowed, or there are fewer
        frames.

    Notes
    -----
    Before the first frame and after the last one, that frame goes on. A NaN makes NaN of its pixel
    in all frames whose window holds it.

    Dask chunks may cut through `dim`: each task borrows ``window // 2`` frames from its
    neighbours, and the result is the eager one, bit for bit. A task needs about one and a
    half times its chunk in float32 as scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> history = np.array([3, 3, 90, 4, 4], "uint8")
    >>> frames = xr.DataArray(history[:, None, None], dims=("t", "y", "x"))
    >>> running_median(frames, window=3).values.ravel().tolist()
    [3.0, 3.0, 4.0, 4.0, 4.0]
    """
    check_frames(frames, [dim])
    return median_filter(frames, size=check_window(frames, window, dim), dims=[dim])


def running_mean(frames: xr.DataArray, *, window: int, dim: Hashable = "t") -> xr.DataArray:
    """Return the mean of each pixel over the frames around each frame.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    window
        How many frames, odd; as many before as after.
    dim
        The dimension to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 5e-7 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If `dim` is missing, the dtype is not real, `window` is not allowed, or there are fewer
        frames.

    Notes
    -----
    Before the first frame and after the last one, that frame goes on. A NaN makes NaN of its pixel
    in all frames whose window holds it.

    Dask chunks may cut through `dim`: each task borrows ``window // 2`` frames from its
    neighbours, and the result is the eager one, bit for bit. A task needs about its chunk in float32
    as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([3.0, 3, 9, 3])[:, None, None], dims=("t", "y", "x"))
    >>> running_mean(frames, window=3).values.ravel().round(6).tolist()
    [3.0, 5.0, 5.0, 5.0]
    """
    check_frames(frames, [dim])
    window = check_window(frames, window, dim)
    kwargs: dict[str, Any] = {"window": window, "axis": frames.get_axis_num(dim)}
    return apply_with_rim(centred_mean, frames, {dim: window // 2}, kwargs=kwargs)


def fir_filter(
    frames: xr.DataArray,
    *,
    taps: npt.ArrayLike,
    before: Literal["first", "zero"] = "first",
    dim: Hashable = "t",
) -> xr.DataArray:
    """Return ``Σ taps[k] frames[n - k]`` for each frame n: what was, weighted by how long ago.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    taps
        The weights of this frame, the one before, and so on; `scipy.signal.firwin` makes some.
        Symmetric ones delay by ``(len(taps) - 1) / 2`` frames.
    before
        What was before the first frame: the ``"first"`` frame for ever, or ``"zero"``.
    dim
        The dimension to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 3e-7 of the
        largest value of what float64 gives, times the sum of the sizes of the taps), or float64
        for float64 frames.

    Raises
    ------
    OperationError
        If `dim` is missing, the dtype is not real, `taps` are no finite numbers, or there are
        fewer frames than taps.

    Notes
    -----
    It looks back only, so that a frame's result never waits for a later one. With ``"zero"`` it is
    ``scipy.signal.lfilter(taps, 1, frames)``. A NaN makes NaN of its pixel in as many frames as
    there are taps.

    Dask chunks may cut through `dim`: each task borrows ``len(taps) - 1`` frames from the one
    before, and the result is the eager one, bit for bit. A task needs about twice its chunk in
    float32 as scratch.

    Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition, section 6.5.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([2.0, 2, 5, 5])[:, None, None], dims=("t", "y", "x"))
    >>> fir_filter(frames, taps=[1, -1]).values.ravel().tolist()
    [0.0, 0.0, 3.0, 0.0]
    """
    check_frames(frames, [dim])
    check_choice("before", before, ("first", "zero"))
    if np.ndim(taps) != 1 or np.size(taps) == 0:
        raise OperationError(f"taps is {taps!r}, but must be a list of finite numbers")
    weights = tuple(check_number(f"taps[{at}]", tap) for at, tap in enumerate(np.asarray(taps)))
    check_kernel(
        frames, [dim], len(weights), f"taps of length {len(weights)}", remedy="use more frames"
    )
    kwargs: dict[str, Any] = {
        "taps": weights,
        "axis": frames.get_axis_num(dim),
        "latest": 0,
        "mode": "nearest" if before == "first" else "constant",
    }
    return apply_with_rim(weighted_sum, frames, {dim: (len(weights) - 1, 0)}, kwargs=kwargs)


def check_window(frames: xr.DataArray, window: int, dim: Hashable) -> int:
    """Return `window` if it is an odd number of frames that there are."""
    window = check_whole("window", window, least=1, odd=True)
    check_kernel(
        frames, [dim], window, f"window={window}", remedy="use a smaller one, or more frames"
    )
    return window


def centred_mean(array: Array, *, window: int, axis: int) -> Array:
    """Return the mean of `window` values around each along `axis`; its outermost ones go on."""

    def mean(slab: Array) -> Array:
        around = as_real(padded(slab, window // 2, [axis]))
        return moving_sums(around, window, axis) * (1 / window)

    return in_slabs(mean, array, [axis])


def weighted_sum(
    array: Array, *, taps: Sequence[float], axis: int, latest: int, mode: str
) -> Array:
    """Return ``Σ taps[k] array[n + latest - k]`` along `axis`; `mode` says what is beyond its ends."""
    real = as_real(array)
    weights = namespace(real).asarray(
        taps[::-1], dtype=namespace(real).float64, device=device(real)
    )
    origin = len(taps) - 1 - len(taps) // 2 - latest
    return ndimage(real).correlate1d(real, weights, axis=axis, mode=mode, cval=0.0, origin=origin)
