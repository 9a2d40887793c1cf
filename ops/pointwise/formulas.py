"""What is done to each pixel by itself; ``kernels.cuh`` has the same for a GPU."""

import numpy as np
import numpy.typing as npt
from array_api_compat import device

from forebay.ops._arrays import Array, clip_here, clipped, namespace, round_here
from forebay.ops.pointwise.one_pass import pointwise


@pointwise("T pixel", "R offset", "R factor", result="R", in_place=True)
def corrected(pixel: Array, *, offset: Array | float, factor: Array | float, dtype: str) -> Array:
    """Return ``(pixel - offset) * factor``."""
    xp = namespace(pixel)
    real = xp.astype(pixel, getattr(xp, dtype))
    # What changes nothing need not be done.
    if not (isinstance(offset, float) and offset == 0):
        real -= offset
    if not (isinstance(factor, float) and factor == 1):
        real *= factor
    return real


@pointwise("T pixel", "R bias", "R current", "R ratio", result="R")
def undarkened(
    pixel: Array, *, bias: Array | float, current: Array, ratio: Array | float, dtype: str
) -> Array:
    """Return ``pixel - bias - current * ratio``."""
    xp = namespace(pixel)
    real = xp.astype(pixel, getattr(xp, dtype))
    real -= bias
    real -= current * ratio
    return real


@pointwise("T pixel", "T low", "T high", "T background", result="T")
def flattened(pixel: Array, *, low: float, high: float, background: float, dtype: str) -> Array:
    """Return `background` where the pixel lies between `low` and `high`, both included."""
    xp = namespace(pixel)
    value = xp.asarray(background, dtype=getattr(xp, dtype), device=device(pixel))
    return xp.where((pixel >= low) & (pixel <= high), value, pixel)


@pointwise("T pixel", "T least", "T most", result="O")
def rounded(pixel: Array, *, least: float, most: float, dtype: str) -> Array:
    """Return the nearest whole number from `least` to `most`, halves to the even one; 0 for NaN."""
    xp = namespace(pixel)
    if not xp.isdtype(pixel.dtype, "real floating"):
        return xp.astype(clipped(pixel, least, most), getattr(xp, dtype))
    return _whole(xp.round(pixel), least=least, most=most, dtype=dtype)


def _whole(rounded: Array, *, least: float, most: float, dtype: str) -> Array:
    """Return whole numbers within limits, which are set in their place, in a type of integers."""
    xp = namespace(rounded)
    unknown = xp.isnan(rounded)
    clip_here(rounded, least, most)
    if xp.any(unknown):
        rounded[unknown] = 0.0
    return xp.astype(rounded, getattr(xp, dtype))


@pointwise("T pixel", "int32 count", "T top", result="T")
def without_low_bits(pixel: Array, *, count: int, top: int, dtype: str) -> Array:
    """Return whole numbers rounded to multiples of ``2**count``, halves to even; `top` at most."""
    xp = namespace(pixel)
    half = 1 << (count - 1)
    odd = (pixel >> count) & 1
    least, limit = int(xp.iinfo(pixel.dtype).min), top - half
    rounded = ((clipped(pixel, least, limit) + (half - 1) + odd) >> count) << count
    highest = xp.asarray(top, dtype=getattr(xp, dtype), device=device(pixel))
    return xp.where(pixel > limit, highest, rounded)


@pointwise("T pixel", "raw O table", result="O")
def looked_up(pixel: Array, *, table: npt.NDArray[np.generic], dtype: str) -> Array:
    """Return the entry of `table` for each value."""
    xp = namespace(pixel)
    entries = xp.asarray(table, dtype=getattr(xp, dtype), device=device(pixel))
    index = xp.astype(xp.reshape(pixel, (-1,)), xp.int64)
    return xp.reshape(xp.take(entries, index, axis=0), pixel.shape)


@pointwise("T pixel", "R offset", "R factor", "R low", "R high", result="R")
def corrected_flattened(
    pixel: Array,
    *,
    offset: Array | float,
    factor: Array | float,
    low: float,
    high: float,
    dtype: str,
) -> Array:
    """Return `corrected`, and 0 where that lies between `low` and `high`."""
    light = corrected.__wrapped__(pixel, offset=offset, factor=factor, dtype=dtype)
    return flattened.__wrapped__(light, low=low, high=high, background=0, dtype=dtype)


@pointwise("T pixel", "R offset", "R factor", "R low", "R high", "R least", "R most", result="O")
def corrected_rounded(
    pixel: Array,
    *,
    offset: Array | float,
    factor: Array | float,
    low: float,
    high: float,
    least: float,
    most: float,
    work: str,
    dtype: str,
) -> Array:
    """Return `corrected_flattened`, found in the type `work`, as `rounded` makes it."""
    light = corrected.__wrapped__(pixel, offset=offset, factor=factor, dtype=work)
    if low <= high:
        light = flattened.__wrapped__(light, low=low, high=high, background=0, dtype=work)
    return _whole(round_here(light), least=least, most=most, dtype=dtype)
