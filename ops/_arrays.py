"""The array namespace, its image filters and its dtypes, taken from the array at hand.

These are for block functions, which see NumPy or CuPy arrays. At graph level an array may be
Dask's, whose namespace says nothing of its chunks.
"""

from typing import Any

import array_api_compat
import numpy as np
from dask.array.utils import meta_from_array

from forebay.ops.errors import OperationError

type Array = Any
"""An array of any namespace of the array API standard."""


def namespace(array: Array) -> Any:
    """Return the namespace of `array`."""
    return array_api_compat.array_namespace(array)


def empty_like_chunk(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return an empty array of `dtype` in the library of `array`, or of its chunks if it is Dask's.

    It has the dimensions of `array`.
    """
    return meta_from_array(array, dtype=dtype)  # type: ignore[no-untyped-call]


def library(array: Array) -> str:
    """Return the name of the library that `array`, or each chunk of it, comes from."""
    name = type(empty_like_chunk(array, array.dtype)).__module__
    return name.partition(".")[0]


def ndimage(array: Array) -> Any:
    """Return `scipy.ndimage`, or `cupyx.scipy.ndimage` for an array on a GPU."""
    if array_api_compat.is_cupy_array(array):
        import cupyx.scipy.ndimage

        return cupyx.scipy.ndimage
    if array_api_compat.is_numpy_array(array):
        import scipy.ndimage

        return scipy.ndimage
    raise _without("image filters", array)


def signal(array: Array) -> Any:
    """Return `scipy.signal`, or `cupyx.scipy.signal` for an array on a GPU."""
    if array_api_compat.is_cupy_array(array):
        import cupyx.scipy.signal

        return cupyx.scipy.signal
    if array_api_compat.is_numpy_array(array):
        import scipy.signal

        return scipy.signal
    raise _without("filters of signals", array)


def _without(what: str, array: Array) -> OperationError:
    return OperationError(
        f"there are no {what} for {type(array).__module__}.{type(array).__name__}; "
        "use NumPy or CuPy arrays, or Dask arrays of them"
    )


def transforms(array: Array) -> Any:
    """Return the Fourier transforms of several axes: the namespace's own, or `scipy.fft` for NumPy.

    Both have the same functions; that of NumPy takes five times as long for a frame of float32.
    """
    if array_api_compat.is_numpy_array(array):
        import scipy.fft

        return scipy.fft
    return namespace(array).fft


def special(array: Array) -> Any:
    """Return `scipy.special`, or `cupyx.scipy.special` for an array on a GPU."""
    if array_api_compat.is_cupy_array(array):
        import cupyx.scipy.special

        return cupyx.scipy.special
    import scipy.special

    return scipy.special


def in_place_at(array: Array, *places: int) -> Array:
    """Return `array` with what sorting would bring to `places` of its last axis there.

    The rest is in no order, for which NumPy and CuPy need not sort all of it.
    """
    if array_api_compat.is_numpy_array(array) or array_api_compat.is_cupy_array(array):
        return namespace(array).partition(array, places, axis=-1)
    return namespace(array).sort(array, axis=-1)


def clipped(array: Array, least: float, most: float) -> Array:
    """Return `array` with nothing below `least` and above `most`; NaN stays.

    The `clip` of array-api-compat passes over NumPy's arrays ten times.
    """
    if array_api_compat.is_numpy_array(array):
        return np.clip(array, least, most)
    return namespace(array).clip(array, least, most)


def clip_here(array: Array, least: float, most: float) -> Array:
    """Return `clipped`, in the place of `array` where its library can do that."""
    if array_api_compat.is_numpy_array(array):
        return np.clip(array, least, most, out=array)
    array[...] = clipped(array, least, most)
    return array


def round_here(array: Array) -> Array:
    """Return `array` rounded, halves to even, in the place of `array` where its library can."""
    if array_api_compat.is_numpy_array(array):
        return np.rint(array, out=array)
    return namespace(array).round(array)


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Return `array` as a NumPy array: the one place where results leave the device."""
    if array_api_compat.is_cupy_array(array):
        host: np.ndarray[Any, Any] = array.get()
        return host
    return np.asarray(array)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that frames of `dtype` are worked on in: float64 stays, the rest float32."""
    return np.dtype(np.float64 if dtype.kind == "f" and dtype.itemsize == 8 else np.float32)


def as_real(array: Array) -> Array:
    """Return `array` in float64 if it is that already, else in float32."""
    return as_result(array, array)


def finite_or_nan(array: Array) -> Array:
    """Return `array` in float64, NaN where it is infinite: sums of infinities make no sense."""
    xp = namespace(array)
    wide = xp.astype(array, xp.float64)
    if not xp.isdtype(array.dtype, "real floating"):
        return wide
    return xp.where(xp.isfinite(wide), wide, xp.full_like(wide, xp.nan))


def as_result(wide: Array, array: Array) -> Array:
    """Return `wide` in float64 if `array` is that, else in float32."""
    xp = namespace(array)
    double = xp.isdtype(array.dtype, "real floating") and xp.finfo(array.dtype).bits == 64
    return xp.astype(wide, xp.float64 if double else xp.float32, copy=False)
