"""Fewer different pixels, each within a stated part of its noise."""

import math
from bisect import bisect_right

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.ops._checks import check_frames, check_number
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import looked_up
from forebay.ops.pointwise.one_pass import apply_pointwise
from forebay.ops.reduction.companding import Companding


def quantise_to_noise(
    frames: xr.DataArray, camera: Companding, *, max_error: float = 0.5
) -> xr.DataArray:
    """Return `frames` with the fewest values that keep each pixel within `max_error` of its noise.

    Frames stay counts, so that whoever reads them needs no key, and take less space compressed:
    what noise decides does not compress. Use ``"zstd"`` for them: Blosc's shuffling of bits hides
    that there are few values, and is for `drop_low_bits` and `compand`.

    Parameters
    ----------
    frames
        uint8 or uint16; NumPy or CuPy, eager or Dask.
    camera
        Whose noise it is: gain, read noise and offset. Its other fields are for `compand`.
    max_error
        By how much a pixel may change, in standard deviations of its noise; above 0.

    Returns
    -------
    xarray.DataArray
        Everything of `frames`, its dtype too. Each pixel of n counts changes by at most ``max_error
        * camera.noise(n)``, whatever n is; `measure_reduction` says what is saved. Noise evenly
        spread over steps of twice the error adds a variance of a third of ``max_error**2`` to the
        noise's one: 4 % more noise at 0.5.

    Raises
    ------
    OperationError
        If `frames` is of another dtype, or `max_error` is not above 0.

    Notes
    -----
    The noise is that of `Companding`: ``sqrt(electrons + read_noise**2)``. From the lowest count
    on, as many counts share a value as there is one within reach of all of them; the value is that
    next to their middle. No other choice has fewer values. The table is checked against the bound
    count by count when it is made. `compand` puts the values into bytes instead, with a bound that
    has a constant part. Poisson noise of 400 photons takes 2.4 times less space with ``"zstd"`` at
    the default, and the same as before with ``"blosc-zstd"`` (measured). Needs its
    result and a few megabytes as scratch.

    Only integers are taken, which have no NaN.

    Integers are those of the formula.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[100, 104, 1000, 1010]], "uint16"), dims=("y", "x"))
    >>> camera = Companding(gain=0.5, read_noise=2.0, offset=100)
    >>> quantise_to_noise(frames, camera).values
    array([[ 102,  102, 1014, 1014]], dtype=uint16)
    """
    check_frames(frames, ())
    if frames.dtype not in (np.uint8, np.uint16):
        raise OperationError(f"frames is of dtype {frames.dtype}, but must be uint8 or uint16")
    limit = check_number("max_error", max_error, above=0)
    counts = np.arange(np.iinfo(frames.dtype).max + 1)
    table = fewest_values(counts, limit * camera.noise(counts)).astype(
        frames.dtype.newbyteorder("=")
    )
    return apply_pointwise(looked_up, frames, dtype=table.dtype, table=table)


def fewest_values(
    counts: npt.NDArray[np.int64], reach: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return whole numbers, as few as can be, each within `reach` of its count.

    The counts follow each other without a gap, and `reach` does not fall.

    Examples
    --------
    >>> fewest_values(np.arange(7), np.ones(7)).tolist()
    [1, 1, 1, 4, 4, 4, 6]
    """
    # The least number that is within reach of all counts so far that share it.
    needed = np.maximum.accumulate(counts - reach).tolist()
    highest = np.minimum(np.floor(counts + reach), counts[-1]).tolist()
    values = counts.copy()
    start = 0
    while start < counts.size:
        stop = max(bisect_right(needed, highest[start], lo=start), start + 1)
        middle = (start + stop - 1) // 2 + int(counts[0])
        values[start:stop] = min(max(middle, math.ceil(needed[stop - 1])), highest[start])
        start = stop
    # Rounding may have let one in that is just out of reach.
    return np.where(np.abs(values - counts) <= reach, values, counts)
