"""Evening out how much light each pixel gets and makes of it."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from forebay.ops._checks import check_frames
from forebay.ops.correction.alignment import joint_dtype, laid_on
from forebay.ops.pointwise.formulas import corrected
from forebay.ops.pointwise.one_pass import apply_pointwise


def flat_field(
    frames: xr.DataArray,
    *,
    flat: xr.DataArray,
    dark: xr.DataArray | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return ``(frames - dark) / (flat - dark) * mean(flat - dark)``.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    flat
        An even field, taken under the light of `frames`, in the same unit; its dimensions are
        some of those of `frames`.
    dark
        What the camera gives without light; None for nothing.
    dims
        The dimensions that the mean is taken over; others (a channel) keep their own mean.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`; float32, or float64 if any is
        float64; same unit as `frames`.

    Raises
    ------
    OperationError
        If the images do not fit the frames, or a dtype is not real.

    Notes
    -----
    A pixel whose gain ``flat - dark`` is zero, negative or NaN cannot be corrected: it is NaN in
    the result and left out of the mean.

    The formula: Seibert, Boone and Lindfors, Proc. SPIE 3336, 348 (1998).

    Float32 is within 1e-6 of the largest value.

    Works chunk by chunk with Dask. A task needs little more than its result as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> flat = xr.DataArray(np.array([[2.0, 4.0, 0.0]]), dims=("y", "x"))
    >>> flat_field(10 * flat.expand_dims(t=2), flat=flat).values[0].tolist()
    [[30.0, 30.0, nan]]
    """
    check_frames(frames, list(dims))
    offset, factor = response(frames, flat, dark, dims)
    dtype = joint_dtype(frames, offset, factor)
    return apply_pointwise(corrected, frames, dtype=dtype, offset=offset, factor=factor)


def response(
    frames: xr.DataArray, flat: xr.DataArray, dark: xr.DataArray | None, dims: Sequence[Hashable]
) -> tuple[xr.DataArray | float, xr.DataArray]:
    """Return what each pixel gives without light, and what makes its response that of the mean."""
    gain = laid_on(frames, flat, "flat")
    offset: xr.DataArray | float = 0.0
    if dark is not None:
        offset = laid_on(frames, dark, "dark")
        gain = gain - offset
    usable, level = usable_gain(gain, dims)
    return offset, level / usable


def usable_gain(gain: xr.DataArray, dims: Sequence[Hashable]) -> tuple[xr.DataArray, xr.DataArray]:
    """Return `gain`, NaN where it is not above zero, and the mean of the rest over `dims`."""
    gain = gain.where(gain > 0)
    over = [dim for dim in dims if dim in gain.dims]
    return gain, gain.mean(over, skipna=True, dtype=np.float64).astype(gain.dtype)
