"""Fewer bits to a pixel, in the type that it has."""

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_whole
from forebay.ops.errors import OperationError


def drop_low_bits(frames: xr.DataArray, *, count: int) -> xr.DataArray:
    """Return `frames` rounded to multiples of ``2**count``.

    Bits below the noise do not compress, and say nothing. Once they are zero, frames take less
    space with any compression that shuffles bits or bytes.

    Parameters
    ----------
    frames
        Integer; NumPy or CuPy, eager or Dask.
    count
        How many of the lowest bits become zero; 0 changes nothing.

    Returns
    -------
    xarray.DataArray
        Everything of `frames`, its dtype too. No pixel changes by more than ``2**(count - 1)``.
        Halves go to the even multiple, so that they add no bias. What would be rounded beyond the
        dtype has its highest value: a saturated pixel stays saturated.

    Raises
    ------
    OperationError
        If `frames` has no integers, or not more than `count` bits.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[3, 8, 9, 24, 255]], "uint8"), dims=("y", "x"))
    >>> drop_low_bits(frames, count=4).values
    array([[  0,   0,  16,  32, 255]], dtype=uint8)
    """
    check_frames(frames, ())
    check_whole("count", count, least=0)
    check_bits(frames.dtype, count)
    dtype = frames.dtype.newbyteorder("=")
    return apply(without_low_bits, frames, (), dtype=dtype, kwargs={"count": int(count)})


def without_low_bits(array: Array, *, count: int) -> Array:
    """Return `array`, integers, rounded to multiples of ``2**count``."""
    if count == 0:
        return array
    xp = namespace(array)
    ends, half = xp.iinfo(array.dtype), 1 << (count - 1)
    odd = (array >> count) & 1
    # Above this a pixel would be rounded to more than its type holds.
    limit = int(ends.max) - half
    top = xp.asarray(int(ends.max), dtype=array.dtype, device=device(array))
    rounded = ((xp.clip(array, int(ends.min), limit) + (half - 1) + odd) >> count) << count
    return xp.where(array > limit, top, rounded)


def check_bits(dtype: "np.dtype[np.generic]", count: int) -> None:
    """Raise `OperationError` unless pixels of `dtype` have more than `count` bits to round."""
    if dtype.kind not in "iu":
        raise OperationError(
            f"frames is of dtype {dtype}, but bits can be dropped of integers only; convert by "
            "to_integers first"
        )
    if count >= 8 * dtype.itemsize:
        raise OperationError(
            f"count is {count}, but a pixel of dtype {dtype} has {8 * dtype.itemsize} bits, of "
            "which one must remain"
        )
