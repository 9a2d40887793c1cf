"""Integer types for pixels: which one holds what, and rounding into one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.ops._arrays import real_dtype
from forebay.ops._checks import check_frames, check_number
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import rounded
from forebay.ops.pointwise.one_pass import apply_pointwise

_BITS = (8, 16, 32, 64)


def to_integers(frames: xr.DataArray, *, dtype: npt.DTypeLike) -> xr.DataArray:
    """Return `frames` rounded to whole numbers, as far as `dtype` reaches.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    dtype
        An integer type.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`. Within the range of `dtype` the
        error is at most 0.5; halves go to the even neighbour, so that they add no bias. What lies
        beyond becomes the nearest end of the range, and NaN becomes 0.

    Raises
    ------
    OperationError
        If `dtype` is no integer type, or that of `frames` is not real.

    Notes
    -----
    It is ``clip(rint(frames))``. Works chunk by chunk with Dask; a task needs about twice its
    chunk as scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[-3.0, 0.5, 1.5, np.nan, 300.0]]), dims=("y", "x"))
    >>> to_integers(frames, dtype="uint8").values
    array([[  0,   0,   2,   0, 255]], dtype=uint8)
    """
    check_frames(frames, ())
    target = integer_dtype(dtype)
    if frames.dtype.kind == "f":
        frames = frames.astype(real_dtype(frames.dtype), copy=False)
    least, most = common_limits(frames.dtype, target)
    return apply_pointwise(rounded, frames, dtype=target, least=least, most=most)


def integer_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return `dtype`, which must be an integer type."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise OperationError(f"dtype is {dtype!r}, but must be an integer type: uint16") from error
    if found.kind not in "iu":
        raise OperationError(f"dtype is {found}, but must be an integer type such as uint16")
    return found.newbyteorder("=")


def common_limits(given: np.dtype[Any], target: np.dtype[Any]) -> tuple[float, float]:
    """Return the lowest and the highest value that both types have; `target` is an integer type.

    Examples
    --------
    >>> common_limits(np.dtype("int32"), np.dtype("uint16"))
    (0, 65535)
    >>> common_limits(np.dtype("float32"), np.dtype("uint32"))  # 2^32 - 1 is no float32
    (0.0, 4294967040.0)
    """
    ends = np.iinfo(target)
    if given.kind == "f":
        low, high = given.type(ends.min), given.type(ends.max)
        # Python compares exactly, NumPy after rounding.
        within = float(high) <= int(ends.max)
        return float(low), float(high if within else np.nextafter(high, given.type(0)))
    own = np.iinfo(given)
    return int(max(own.min, ends.min)), int(min(own.max, ends.max))


def smallest_integer(low: int, high: int) -> np.dtype[Any]:
    """Return the smallest integer type that holds both: an unsigned one where `low` is not negative.

    Raises
    ------
    OperationError
        If there is none.

    Examples
    --------
    >>> smallest_integer(0, 4 * 65535), smallest_integer(-129, 0)
    (dtype('uint32'), dtype('int16'))
    """
    kind = "int" if low < 0 else "uint"
    for bits in _BITS:
        ends = np.iinfo(f"{kind}{bits}")
        if ends.min <= low and high <= ends.max:
            return ends.dtype
    raise OperationError(f"no integer type holds values from {low} to {high}; convert the frames")


def check_held(name: str, value: float, dtype: np.dtype[Any]) -> float:
    """Return `value` if pixels of `dtype` can have it; of an integer type as an integer."""
    number = check_number(name, value)
    if dtype.kind == "f":
        return number
    ends = np.iinfo(dtype)
    if not number.is_integer() or not ends.min <= number <= ends.max:
        raise OperationError(
            f"{name} is {value!r}, but frames of dtype {dtype} hold whole numbers from {ends.min} "
            f"to {ends.max}"
        )
    return int(value)
