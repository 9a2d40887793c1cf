"""Fewer bits to a pixel, in the type that it has."""

import numpy as np
import xarray as xr

from forebay.ops._blocks import replaced
from forebay.ops._checks import check_frames, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import without_low_bits
from forebay.ops.pointwise.one_pass import apply_pointwise


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

    Notes
    -----
    It is ``round(frames / 2**count) * 2**count``. Only integers are taken, which have no NaN.
    Works chunk by chunk with Dask; a task needs about twice its chunk as scratch.

    Integers are those of the formula.

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
    if count == 0:
        return replaced(frames, frames.data.astype(dtype))
    top = int(np.iinfo(dtype).max)
    return apply_pointwise(without_low_bits, frames, dtype=dtype, count=int(count), top=top)


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
