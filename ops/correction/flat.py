"""Evening out how much light each pixel gets and makes of it."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from forebay.ops._checks import check_frames
from forebay.ops.correction.alignment import aligned


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

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> flat = xr.DataArray(np.array([[2.0, 4.0, 0.0]]), dims=("y", "x"))
    >>> flat_field(10 * flat.expand_dims(t=2), flat=flat).values[0].tolist()
    [[30.0, 30.0, nan]]
    """
    check_frames(frames, list(dims))
    frames, gain = aligned(frames, flat, "flat")
    signal = frames
    if dark is not None:
        frames, dark = aligned(frames, dark, "dark")
        signal, gain = frames - dark, gain - dark
    gain, level = usable_gain(gain, dims)
    # One pass over the frames: the rest is done with a single image.
    result = (signal * (level / gain)).transpose(*frames.dims)
    return result.rename(frames.name).assign_attrs(frames.attrs)


def usable_gain(gain: xr.DataArray, dims: Sequence[Hashable]) -> tuple[xr.DataArray, xr.DataArray]:
    """Return `gain`, NaN where it is not above zero, and the mean of the rest over `dims`."""
    gain = gain.where(gain > 0)
    over = [dim for dim in dims if dim in gain.dims]
    return gain, gain.mean(over, skipna=True, dtype=np.float64).astype(gain.dtype)
