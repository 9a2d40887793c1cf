"""Fading frames out towards their edges."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames
from forebay.ops.errors import OperationError

type Window = Literal["hann", "hamming", "blackman", "blackmanharris", "flattop"]

COSINES: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}
"""Of each window, the heights of the waves that it is the sum of, with alternating signs."""


def apply_window(
    frames: xr.DataArray, *, window: Window = "hann", dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return `frames` times a window along each of `dims`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    window
        ``"hann"`` is good for most; ``"hamming"`` does not reach zero and tells neighbouring
        waves apart better; ``"blackman"`` and ``"blackmanharris"`` keep weak waves from being
        covered by far strong ones; ``"flattop"`` keeps heights.
    dims
        The dimensions to fade out along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-6 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or the window is not one of those.

    Notes
    -----
    The windows are the periodic ones, ``Σ (-1)^k a_k cos(2πkn / N)``, which begin at their lowest
    and would do so again one pixel beyond the end: those of `scipy.signal.get_window`. Harris,
    Proc. IEEE 66, 51 (1978). A NaN stays where it is. A task holds its chunk twice more in float32.
    Dask chunks that cut through `dims` are merged, lazily.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> apply_window(xr.DataArray(np.ones(4, "f4"), dims="x"), dims=["x"]).values
    array([0. , 0.5, 1. , 0.5], dtype=float32)
    """
    check_frames(frames, dims)
    if not dims:
        raise OperationError("dims is empty, but must name what to fade out along")
    check_choice("window", window, tuple(COSINES))
    return apply(
        faded,
        frames,
        dims,
        dtype=real_dtype(frames.dtype),
        kwargs={"ndim": len(dims), "window": window},
    )


def faded(array: Array, *, ndim: int, window: str) -> Array:
    """Return `array` times a window along each of its last `ndim` axes."""
    result = as_real(array)
    for axis in range(-ndim, 0):
        result = result * like(along(window_weights(window, array.shape[axis]), axis), result)
    return result


def window_weights(window: str, size: int) -> np.ndarray[Any, Any]:
    """Return the weights of a periodic window over `size` points, float64."""
    place = 2 * np.pi * np.arange(size) / size
    weights = np.zeros(size)
    for number, height in enumerate(COSINES[window]):
        weights += (-1) ** number * height * np.cos(number * place)
    return weights


def along(values: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    """Return `values`, one-dimensional, so that they broadcast along the negative `axis`."""
    return values.reshape(-1, *(1,) * (-axis - 1))


def like(values: np.ndarray[Any, Any], array: Array) -> Array:
    """Return a few host `values` in the namespace, on the device and in the dtype of `array`."""
    return namespace(array).asarray(values, dtype=array.dtype, device=device(array))
