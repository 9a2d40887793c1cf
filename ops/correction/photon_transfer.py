"""What a camera makes of photons: its gain and noise, and frames in electrons."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from forebay.ops._checks import check_frames, check_kernel, check_number
from forebay.ops._moments import moments_along
from forebay.ops.correction.alignment import aligned, joint_dtype, laid_on
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import corrected
from forebay.ops.pointwise.one_pass import apply_pointwise


def photon_transfer(
    frames: xr.DataArray,
    dark: xr.DataArray,
    *,
    level: Hashable | None = None,
    saturation: float | None = None,
    dim: str = "t",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.Dataset:
    """Return gain and read noise from how the variance of an unchanging scene grows with its mean.

    Parameters
    ----------
    frames
        Frames of something that does not change along `dim`, under steady light, at least 2 of
        each; integer or float, NumPy or CuPy, eager or Dask. It need not be even.
    dark
        Frames without light of the same exposure, at least 2 along `dim`; with the other
        dimensions of `frames`, but for `level`.
    level
        The dimension along which the brightness changes, if it does. The more levels, the better
        the gain, and the curve shows where the camera is not linear.
    saturation
        Levels with a mean above this, in the unit of `frames` before the dark is taken out, are
        left out; None takes all.
    dim
        The dimension of the frames that are alike.
    dims
        The dimensions to average over; ``()`` gives maps of each pixel, which need hundreds of
        frames.

    Returns
    -------
    xarray.Dataset
        Float64: ``gain``, electrons for each count; ``read_noise``, electrons; ``offset``, what
        the dark gives, counts; ``signal`` and ``variance``, of each level, counts above the dark
        and squared counts beyond its variance. Dask-backed if `frames` are.

    Raises
    ------
    OperationError
        If a dimension is missing, a dtype is not real, the two do not fit each other, or there
        are fewer than 2 frames along `dim`.

    Notes
    -----
    With S the mean above the dark, and V the variance along `dim` beyond that of the dark, each
    pixel's own and then averaged, shot noise makes ``V = S / gain``. The gain is that of the line
    through zero with the least squares, weighted with one over the square of the whole variance
    that a first, unweighted line gives: that is what the variance of a variance goes by. The read
    noise is the gain times the root of the dark's mean variance. Janesick, Photon Transfer, chapter
    5 (2007).

    N frames of P pixels give the gain to about ``sqrt(2 / (N P))`` of it. Light that flickers by
    a part f of itself adds ``f² S²`` to V, and makes the gain come out smaller. A NaN in a pixel
    makes NaN of all that its average is in; where nothing rises, the gain is NaN.

    Works chunk by chunk with Dask, which holds up to three pairs of float64 frames for each four
    times that the run is longer, and as much of the dark. A task needs about seven float64 frames
    as scratch.

    Float32 is within 1e-8 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> light = rng.poisson(400, (30, 64, 64)) / 2.0
    >>> noise = rng.normal(100, 3, (2, 30, 64, 64))
    >>> frames, dark = (xr.DataArray(a, dims=("t", "y", "x")) for a in (light + noise[0], noise[1]))
    >>> camera = photon_transfer(frames, dark)
    >>> round(float(camera.gain), 1), round(float(camera.read_noise), 1)
    (2.0, 6.0)
    """
    check_frames(frames, [dim, *dims, *([] if level is None else [level])])
    check_frames(dark, [dim, *dims], name="dark")
    for name, stack in (("frames", frames), ("dark", dark)):
        check_kernel(
            stack, [dim], 2, f"the variance of {name}", remedy="take more frames of the same"
        )
    if level is not None and level in dark.dims:
        raise OperationError(f"dark has the dimension {level!r}, but is one level; select it")
    aligned(frames.isel({dim: 0}, drop=True), dark.isel({dim: 0}, drop=True), "dark")
    offset, dark_variance = _moments(dark, dim, dims)
    mean, variance = _moments(frames, dim, dims)
    mean, offset = aligned(mean, offset, "dark")
    mean, dark_variance = aligned(mean, dark_variance, "dark")
    signal, shot = mean - offset, variance - dark_variance
    usable = xr.ones_like(mean)
    if saturation is not None:
        saturated = mean > check_number("saturation", saturation)
        usable = usable.where(~saturated, 0.0)
    along = [] if level is None else [level]
    # Weighting by the variances found, rather than expected, would prefer those that are too low.
    first = _slope(signal, shot, usable, along)
    expected = dark_variance + (first * signal).clip(min=0)
    varies = expected != 0
    weight = (usable / expected.where(varies, 1.0) ** 2).where(varies, 0.0)
    slope = _slope(signal, shot, weight, along)
    gain = 1 / slope.where(slope > 0)
    count = str(frames.attrs.get("units", "count"))
    described = {
        "gain": (gain, f"electron/{count}"),
        "read_noise": (gain * np.sqrt(dark_variance), "electron"),
        "offset": (offset, count),
        "signal": (signal, count),
        "variance": (shot, f"{count}^2"),
    }
    # Each is the end of its graph: `dask.compute` of a Dataset loses those that others are made from.
    return xr.Dataset(
        {
            name: value.copy(data=np.positive(value.data)).drop_attrs().assign_attrs(units=unit)
            for name, (value, unit) in described.items()
        }
    )


def to_electrons(
    frames: xr.DataArray, *, gain: float | xr.DataArray, offset: float | xr.DataArray = 0.0
) -> xr.DataArray:
    """Return ``(frames - offset) * gain``.

    Parameters
    ----------
    frames
        Integer or float, counts; NumPy or CuPy, eager or Dask.
    gain
        Electrons for each count, above 0; one for all, or an array with some of the dimensions of
        `frames`, on the same side (host or device).
    offset
        What the camera gives without light, counts; one for all, or an array.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`, with ``units`` of
        ``"electron"``; float32, or float64 if any is float64.

    Raises
    ------
    OperationError
        If an array does not fit the frames, a dtype is not real, or a number is out of range.

    Notes
    -----
    A NaN in any is NaN in the result. Works chunk by chunk with Dask. A task needs little
    more than its result as scratch.

    Float32 is within 5e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[100, 110]], "uint16"), dims=("y", "x"))
    >>> to_electrons(frames, gain=0.5, offset=100).values.tolist()
    [[0.0, 5.0]]
    """
    check_frames(frames, ())
    shift: xr.DataArray | float
    if isinstance(offset, xr.DataArray):
        shift = laid_on(frames, offset, "offset")
    else:
        shift = check_number("offset", offset)
    factor = electrons_per_count(frames, gain)
    dtype = joint_dtype(frames, shift, factor)
    result = apply_pointwise(corrected, frames, dtype=dtype, offset=shift, factor=factor)
    return result.assign_attrs(units="electron")


def electrons_per_count(frames: xr.DataArray, gain: float | xr.DataArray) -> float | xr.DataArray:
    """Return a gain if it is one for all pixels of `frames`, or lies on them."""
    if isinstance(gain, xr.DataArray):
        return laid_on(frames, gain, "gain")
    return check_number("gain", gain, above=0)


def _slope(
    signal: xr.DataArray, shot: xr.DataArray, weight: xr.DataArray, along: Sequence[Hashable]
) -> xr.DataArray:
    """Return that of the line through zero with the least squares; NaN where there is no signal."""
    rise, run = ((weight * signal * each).sum(along, skipna=False) for each in (shot, signal))
    return rise / run.where(run > 0)


def _moments(
    frames: xr.DataArray, dim: str, dims: Sequence[Hashable]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return mean and variance of each pixel along `dim`, averaged over `dims`."""
    mean, variance = moments_along(frames, dim)
    if not dims:
        return mean, variance
    return mean.mean(dims, skipna=False), variance.mean(dims, skipna=False)
