"""Taking out what the camera gives without light."""

import xarray as xr

from forebay.ops._arrays import real_dtype
from forebay.ops._checks import check_frames, check_number
from forebay.ops.correction.alignment import joint_dtype, laid_on
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import corrected, undarkened
from forebay.ops.pointwise.one_pass import apply_pointwise


def subtract_dark(
    frames: xr.DataArray,
    dark: xr.DataArray,
    *,
    bias: xr.DataArray | None = None,
    exposure: float | xr.DataArray | None = None,
    dark_exposure: float | None = None,
) -> xr.DataArray:
    """Return ``frames - bias - (dark - bias) * exposure / dark_exposure``.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    dark
        What the camera gives without light: the mean of a few dozen frames. Its dimensions are
        some of those of `frames`, with the same sizes and coordinates; on the same side (host or
        device) as `frames`.
    bias
        What it gives without light in no time, which does not grow with the exposure; like
        `dark`. None where it has been taken from both already.
    exposure
        Of the frames, above 0, in any unit of time: one for all, or an array with some of their
        dimensions, such as ``t``. None does not scale the dark.
    dark_exposure
        Of the dark, above 0, in the same unit. Goes with `exposure`.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`; float32, or float64 if any is
        float64; same unit as `frames`. Values below the dark are negative; NaN in any is NaN.

    Raises
    ------
    OperationError
        If the images do not fit the frames, a dtype is not real, only one of the exposures is
        given, or one is not above 0.

    Notes
    -----
    Dark current grows in proportion to time; the bias does not, so that a dark with the bias in it
    must not be scaled. Without exposures `bias` changes nothing and is refused.

    Works chunk by chunk with Dask. A task needs little more than its result as scratch.

    Howell, Handbook of CCD Astronomy, 2nd edition, chapter 4 (2006).

    Float32 is within 1e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.full((2, 1, 1), 130, "uint16"), dims=("t", "y", "x"))
    >>> dark, bias = frames[0] * 0 + 110, frames[0] * 0 + 100
    >>> subtract_dark(frames, dark, bias=bias, exposure=2.0, dark_exposure=1.0).values.ravel()
    array([10., 10.], dtype=float32)
    """
    check_frames(frames, ())
    if (exposure is None) != (dark_exposure is None):
        raise OperationError(
            f"exposure is {exposure!r} and dark_exposure {dark_exposure!r}, but the dark is scaled "
            "by both together; give both, or neither"
        )
    level = laid_on(frames, dark, "dark")
    if exposure is None or dark_exposure is None:
        if bias is not None:
            raise OperationError(
                "bias is given without exposures, which it is not needed for: the dark holds it; "
                "give exposure and dark_exposure, or leave it out"
            )
        dtype = joint_dtype(frames, level)
        return apply_pointwise(corrected, frames, dtype=dtype, offset=level, factor=1.0)
    ratio = exposure_ratio(frames, exposure, dark_exposure)
    constant = 0.0 if bias is None else laid_on(frames, bias, "bias")
    return apply_pointwise(
        undarkened,
        frames,
        dtype=joint_dtype(frames, level, constant, ratio),
        bias=constant,
        current=level - constant,
        ratio=ratio,
    )


def exposure_ratio(
    frames: xr.DataArray, exposure: float | xr.DataArray, dark_exposure: object
) -> float | xr.DataArray:
    """Return how many times longer than the dark each frame was exposed."""
    over = check_number("dark_exposure", dark_exposure, above=0)
    if not isinstance(exposure, xr.DataArray):
        return check_number("exposure", exposure, above=0) / over
    each = laid_on(frames, exposure, "exposure")
    return (each / over).astype(real_dtype(frames.dtype))
