"""Making up for fluorescence that fades from frame to frame."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype, to_host
from forebay.ops._blocks import apply, read_again
from forebay.ops._checks import check_choice, check_frames, check_kernel
from forebay.ops.correction.alignment import aligned
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import corrected
from forebay.ops.pointwise.one_pass import apply_pointwise

FEWEST = 4
"""Frames that an exponential with three parameters is fitted to, at least."""


def correct_photobleaching(
    frames: xr.DataArray,
    *,
    method: Literal["exponential", "ratio", "histogram"] = "exponential",
    dim: Hashable = "t",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames`, each as bright as the first one.

    Parameters
    ----------
    frames
        Integer or float, the camera's offset subtracted, at even intervals along `dim`; NumPy or
        CuPy, eager or Dask.
    method
        ``"exponential"`` fits ``a exp(-n / tau) + c`` to the means of the frames and multiplies
        frame n by the ratio of the curve's first value to its n-th: what the scene itself does
        stays. ``"ratio"`` multiplies by the ratio of the means. ``"histogram"`` gives each
        pixel the value that has its rank in the first frame.
    dim
        The dimension that the frames are along.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames. The first frame stays as it is, to rounding.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, `method` is not known, or there are
        fewer than 4 frames for an exponential.

    Notes
    -----
    A frame whose mean, or whose point on the curve, is not above zero cannot be corrected and is
    NaN. So is every frame if the first one has such a mean; and for an exponential if any frame
    has a NaN. Noise is multiplied along with the signal.

    The exponential is fitted on the host, in float64: for each rate the best a and c are known,
    and the rate with the least squares is looked for between ``0.01 / n`` and 5 a frame, n frames
    long. A mean that does not change is left alone. The histogram gives equal values the
    middle one of their ranks.

    With Dask the exponential reads the frames twice: for the means, a few chunks at a time, and for
    the result.
    The histogram merges chunks that cut through `dims`, lazily. A task needs about twice its chunk
    in float32 as scratch, and for the histogram six times.

    Miura, F1000Research 9, 1494 (2020).

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> fading = 50 + 100 * np.exp(-np.arange(20) / 8)
    >>> frames = xr.DataArray(fading[:, None, None] * np.ones((4, 4)), dims=("t", "y", "x"))
    >>> correct_photobleaching(frames).values.round(3).max()
    np.float64(150.0)
    """
    check_frames(frames, [dim, *dims])
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a frame")
    check_choice("method", method, ("exponential", "ratio", "histogram"))
    dtype = real_dtype(frames.dtype)
    if method == "histogram":
        _, first = aligned(frames, frames.isel({dim: 0}, drop=True), "frames")
        kwargs: dict[str, Any] = {"ndim": len(dims)}
        return apply(
            ranked_as_first, frames, dims, dtype=dtype, beside=[(first, dims)], kwargs=kwargs
        )
    seen = frames if method == "ratio" else read_again(frames)
    means = seen.mean(dims, skipna=False, dtype=np.float64)
    if method == "exponential":
        check_kernel(frames, [dim], FEWEST, "an exponential", remedy="use method='ratio'")
        means = apply(fitted_decay, means, [dim], dtype=np.dtype(np.float64), kwargs={})
    usable = means.where(means > 0)
    factor = usable.isel({dim: 0}, drop=True) / usable
    return apply_pointwise(corrected, frames, dtype=dtype, offset=0.0, factor=factor)


def fitted_decay(means: Array) -> Array:
    """Return the exponential, with a constant, that fits `means` best along the last axis."""
    host = to_host(means)
    fitted = np.stack([decay(series) for series in host.reshape(-1, host.shape[-1])])
    return namespace(means).asarray(fitted.reshape(host.shape), device=device(means))


def decay(series: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ``a exp(-rate n) + c`` with the least squares to `series`."""
    from scipy.optimize import minimize_scalar

    if not np.isfinite(series).all():
        return np.full_like(series, np.nan)
    place = np.arange(len(series))

    def curve(rate: float) -> npt.NDArray[np.float64]:
        shape = np.exp(-rate * place)
        shape = shape - shape.mean()
        scale = float(shape @ (series - series.mean())) / float(shape @ shape)
        fitted: npt.NDArray[np.float64] = series.mean() + scale * shape
        return fitted

    def error(log_rate: float) -> float:
        return float(((series - curve(float(np.exp(log_rate)))) ** 2).sum())

    # Several valleys are possible with noise: the best of a coarse search is where to look closer.
    rates = np.linspace(np.log(0.01 / len(series)), np.log(5.0), 60)
    best = int(np.argmin([error(rate) for rate in rates]))
    bounds = rates[max(best - 1, 0)], rates[min(best + 1, len(rates) - 1)]
    found = minimize_scalar(error, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return curve(float(np.exp(found.x)))


def ranked_as_first(array: Array, first: Array, *, ndim: int) -> Array:
    """Return the last `ndim` axes of `array`, each value that of `first` with the same rank."""
    xp = namespace(array)
    real, target = as_real(array), xp.broadcast_to(first, array.shape)
    count = int(np.prod(array.shape[-ndim:]))
    flat, wanted = xp.reshape(real, (-1, count)), xp.reshape(target, (-1, count))
    rows = []
    for index in range(flat.shape[0]):
        ordered, values = xp.sort(flat[index, :]), xp.sort(wanted[index, :])
        below = xp.searchsorted(ordered, flat[index, :], side="left")
        upto = xp.searchsorted(ordered, flat[index, :], side="right")
        rows.append(xp.take(values, (below + upto - 1) // 2))
    matched = xp.astype(xp.reshape(xp.stack(rows), array.shape), real.dtype, copy=False)
    axes = tuple(range(-ndim, 0))
    known = ~xp.any(xp.isnan(real) | xp.isnan(target), axis=axes, keepdims=True)
    nan = xp.asarray(xp.nan, dtype=real.dtype, device=device(real))
    return xp.where(known, matched, nan)
