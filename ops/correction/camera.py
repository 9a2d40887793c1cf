"""What a camera makes of the light, taken out in one pass over the frames."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy.typing as npt
import xarray as xr

from forebay.ops._checks import check_frames
from forebay.ops.correction.alignment import joint_dtype, laid_on
from forebay.ops.correction.flat import response
from forebay.ops.correction.photon_transfer import electrons_per_count
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import corrected, corrected_flattened, corrected_rounded
from forebay.ops.pointwise.one_pass import apply_pointwise
from forebay.ops.reduction.integers import common_limits, integer_dtype
from forebay.ops.reduction.sparse import background_limits


def correct_camera(
    frames: xr.DataArray,
    *,
    dark: xr.DataArray | None = None,
    flat: xr.DataArray | None = None,
    gain: float | xr.DataArray | None = None,
    threshold: float | None = None,
    dtype: npt.DTypeLike | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return ``(frames - dark) / (flat - dark) * mean(flat - dark) * gain``, sparse and rounded.

    It is what `flat_field`, `to_electrons`, `sparsify` and `to_integers` give one after the other,
    in one pass over memory: one kernel on a GPU, slabs that stay in the cache on a processor.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    dark
        What the camera gives without light, as in `flat_field`; None for nothing.
    flat
        An even field, the dark in it, as in `flat_field`; None leaves the response of the pixels.
    gain
        Electrons for each count, as in `to_electrons`; None leaves counts.
    threshold
        What is nearer to 0 than this, in the unit of the result, becomes 0; None leaves it.
    dtype
        An integer type that the result is rounded to, as in `to_integers`; None leaves it real.
    dims
        The dimensions that the mean of the flat is taken over.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`; with a `gain`, ``units`` of
        ``"electron"``. Of `dtype`, or float32, or float64 if any is float64.

    Raises
    ------
    OperationError
        If there is nothing to do, the images do not fit the frames, a dtype is not allowed, or a
        number is out of range.

    Notes
    -----
    A pixel whose gain ``flat - dark`` is not above zero is NaN, and 0 where `dtype` is given. The
    factor of each pixel is found first, so that real results differ from those of the operations
    one after the other by rounding, within 1e-6 of each.

    Works chunk by chunk with Dask. A task needs little more than its result as scratch.

    Float32 is within 1e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[100, 104, 140, 240]]], "uint16"), dims=("t", "y", "x"))
    >>> dark = xr.full_like(frames[0], 100)
    >>> correct_camera(frames, dark=dark, gain=0.5, threshold=5, dtype="uint8").values.ravel()
    array([ 0,  0, 20, 70], dtype=uint8)
    """
    check_frames(frames, list(dims) if flat is not None else ())
    if all(each is None for each in (dark, flat, gain, threshold, dtype)):
        raise OperationError("nothing is to be done; give dark, flat, gain, threshold or dtype")
    offset: xr.DataArray | float = 0.0
    factor: xr.DataArray | float = 1.0
    if flat is not None:
        offset, factor = response(frames, flat, dark, dims)
    elif dark is not None:
        offset = laid_on(frames, dark, "dark")
    if gain is not None:
        factor = factor * electrons_per_count(frames, gain)
    given: dict[str, Any] = {"offset": offset, "factor": factor}
    work = joint_dtype(frames, offset, factor)
    if threshold is not None:
        given["low"], given["high"] = background_limits(work, threshold, 0)
    if dtype is not None:
        target = integer_dtype(dtype)
        least, most = common_limits(work, target)
        given = {"low": math.inf, "high": -math.inf, "least": least, "most": most} | given
        result = apply_pointwise(corrected_rounded, frames, dtype=target, work=work.name, **given)
    else:
        function = corrected if threshold is None else corrected_flattened
        result = apply_pointwise(function, frames, dtype=work, **given)
    return result if gain is None else result.assign_attrs(units="electron")
