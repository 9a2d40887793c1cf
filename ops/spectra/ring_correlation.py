"""How fine the details are that two images of one thing agree on."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number
from forebay.ops._moments import mean_along
from forebay.ops.correction.alignment import aligned
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import frequencies, spacing
from forebay.ops.spectra.power import scaled, without_trend
from forebay.ops.spectra.radial import (
    RADIAL,
    check_one_unit,
    mean_over_rings,
    ring_count,
    ring_numbers,
    ring_width,
)
from forebay.ops.spectra.windows import faded

POINTS = "points"
"""The coordinate that tells how many points of the transform a ring has."""

SEVENTH = 1 / 7


def fourier_ring_correlation(
    frames: xr.DataArray,
    other: xr.DataArray | None = None,
    *,
    dim: str = "t",
    window: Literal["hann"] | None = "hann",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the correlation of two images over rings of their Fourier transforms.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    other
        Other images of the same things with noise of their own; with `dims`, and other dimensions
        of `frames` if each is to have its own; on the same side (host or device). None compares
        the mean of the even frames along `dim` with that of the odd ones.
    dim
        The dimension of the frames that are parted into even and odd; only without `other`.
    window
        ``"hann"`` fades the images out towards their edges, which both have in common; None does
        not.
    dims
        The two dimensions of an image.

    Returns
    -------
    xarray.DataArray
        With ``freq_r`` in the place of `dims`, last: the middle of each ring, as `radial_average`
        has them, and a coordinate ``points``, how many points of the transform a ring has. From -1
        to 1; float32 (within 1e-4 of the largest value), or float64 for float64 frames. Without
        a unit.

    Raises
    ------
    OperationError
        If a dimension is missing, the two do not fit each other, there are no two frames to
        compare, `dims` are not two with frequencies in one unit, or a dtype is not real.

    Notes
    -----
    ``Σ F G* / √(Σ |F|² Σ |G|²)`` over each ring but zero frequency, with the transforms F and G of the
    two images: Saxton and Baumeister, J. Microsc. 127, 127 (1982); van Heel and Schatz, J.
    Struct. Biol. 151, 250 (2005). NaN for a ring without power, as the first one mostly is, and
    for images with a NaN. The two must not share noise: not a fixed pattern of the
    camera (see `flat_field`), nor frames that were averaged.

    Dask chunks that cut through `dims` are merged, lazily. As scratch a task needs some sixteen
    times its chunk in float32.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:64, :64]
    >>> scene = np.exp(-((y - 30) ** 2 + (x - 35) ** 2) / 8)
    >>> noise = 0.02 * np.random.default_rng(1).normal(size=(20, 64, 64))
    >>> curve = fourier_ring_correlation(xr.DataArray(scene + noise, dims=("t", "y", "x")))
    >>> bool(curve[1:5].min() > 0.99), bool(abs(curve[-8:]).max() < 0.3)
    (True, True)
    """
    check_frames(frames, dims if other is not None else [dim, *dims])
    check_choice("window", window, ("hann", None))
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but rings need two dimensions")
    steps, units = zip(*(spacing(frames, each) for each in dims), strict=True)
    check_one_unit(units, dims)
    if other is None:
        frames, other = parted(frames, dim, dims)
    else:
        check_frames(other, dims, name="other")
    frames, other = aligned(frames, other, "other")
    first, second = (
        tuple(frequencies(frames.sizes[each], step).tolist())
        for each, step in zip(dims, steps, strict=True)
    )
    rings = ring_count(first, second)
    result = apply(
        ring_correlation,
        frames,
        dims,
        dtype=np.result_type(frames.dtype, other.dtype),
        new_sizes={RADIAL: rings},
        beside=[(other, dims)],
        kwargs={"first": first, "second": second, "window": window},
    )
    result.attrs.pop("units", None)
    points = np.bincount(ring_numbers(first, second).ravel())[:rings]
    middles = ring_width(first, second) * np.arange(rings)
    return result.assign_coords(
        {RADIAL: (RADIAL, middles, {"units": units[0]}), POINTS: (RADIAL, points)}
    )


def parted(
    frames: xr.DataArray, dim: str, dims: Sequence[Hashable]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the mean of the even frames along `dim`, and that of the odd ones."""
    if dim in dims:
        raise OperationError(f"dim is {dim!r}, but must not be one of dims, {tuple(dims)}")
    if frames.sizes[dim] < 2:
        raise OperationError(
            f"frames has one frame along {dim!r}, but two are needed; give other, or more frames"
        )
    even, odd = (
        mean_along(frames.isel({dim: slice(start, None, 2)}), dim).astype(real_dtype(frames.dtype))
        for start in (0, 1)
    )
    return even, odd


def ring_correlation(
    array: Array,
    other: Array,
    *,
    first: Sequence[float],
    second: Sequence[float],
    window: str | None,
) -> Array:
    """Return the correlation over rings of the last two axes, whose frequencies are given."""
    xp = namespace(array)
    zero = (np.asarray(first) == 0)[:, None] & (np.asarray(second) == 0)
    kept = xp.asarray(~zero, device=device(array))
    waves, others = (_waves(each, window, kept) for each in (as_real(array), as_real(other)))
    common = xp.real(waves) * xp.real(others) + xp.imag(waves) * xp.imag(others)
    both, one, two = (
        mean_over_rings(each, first=first, second=second)
        for each in (
            common,
            xp.real(waves) ** 2 + xp.imag(waves) ** 2,
            xp.real(others) ** 2 + xp.imag(others) ** 2,
        )
    )
    size = xp.sqrt(one) * xp.sqrt(two)
    nan = xp.asarray(xp.nan, dtype=size.dtype, device=device(size))
    return xp.where(size > 0, both, nan) / xp.where(size > 0, size, xp.ones_like(size))


def _waves(array: Array, window: str | None, kept: Array) -> Array:
    """Return the transform over the last two axes where it is `kept`, zero in the middle."""
    xp, axes = namespace(array), (-2, -1)
    contrast = scaled(without_trend(array, axes, linear=False), axes)
    if window is not None:
        contrast = faded(contrast, ndim=2, window=window)
    waves = xp.astype(contrast, xp.result_type(contrast.dtype, xp.complex64))
    waves = xp.fft.fftshift(xp.fft.fftn(waves, axes=axes), axes=axes)
    return xp.where(kept, waves, xp.zeros_like(waves))


def ring_resolution(
    correlation: xr.DataArray,
    *,
    threshold: float | Literal["one_seventh", "half_bit"] = "one_seventh",
) -> xr.DataArray:
    """Return the length of the finest details that two images agree on.

    Parameters
    ----------
    correlation
        As `fourier_ring_correlation` gives it; NumPy or CuPy, eager or Dask.
    threshold
        What they agree on is above this: ``"one_seventh"``; ``"half_bit"``, which is lower for
        rings of more points; or a number above 0 and below 1.

    Returns
    -------
    xarray.DataArray
        Without ``freq_r``; one over the frequency where the correlation first falls below
        `threshold`, on a line from one ring to the next; in the unit of length of the
        frequencies, in pixels where they are per pixel. Float32 or float64 as `correlation`. NaN
        where it stays above up to the last ring (details are finer than pixels can show), is
        below from the first ring after zero on, or has a NaN before it falls.

    Raises
    ------
    OperationError
        If `correlation` has no rings, or `threshold` is not allowed.

    Notes
    -----
    One seventh is where the mean of both images would correlate by a half with one without noise:
    Rosenthal and Henderson, J. Mol. Biol. 333, 721 (2003). Half a bit of information
    a point is where the correlation is ``(0.2071 + 1.9102 / √n) / (1.2071 + 0.9102 / √n)`` with the
    n points of a ring: van Heel and Schatz, J. Struct. Biol. 151, 250 (2005), who set it against
    fixed thresholds. Points of opposite frequency count as two.

    A curve of few frames is noisy, and may dip early: take a mean over some rings first.

    Float32 is within 1e-6 of the largest value where the curve falls by a tenth or more between
    two rings.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> curve = xr.DataArray([1, 0.9, 0.5, 0.1], dims="freq_r",
    ...     coords={"freq_r": ("freq_r", [0, 0.1, 0.2, 0.3], {"units": "cycles per µm"})})
    >>> resolution = ring_resolution(curve, threshold=0.3)
    >>> round(float(resolution), 6), resolution.attrs["units"]
    (4.0, 'µm')
    """
    check_frames(correlation, [RADIAL], name="correlation")
    if RADIAL not in correlation.coords:
        raise OperationError(
            f"correlation has no coordinate {RADIAL!r}; use what fourier_ring_correlation gives"
        )
    check_kernel(correlation, [RADIAL], 3, "a fall", remedy="use larger frames")
    middles = correlation[RADIAL].to_numpy().astype(np.float64)
    levels = _levels(correlation, threshold)
    result = apply(
        first_fall,
        correlation,
        [RADIAL],
        dtype=real_dtype(correlation.dtype),
        new_sizes={},
        kwargs={"middles": tuple(middles.tolist()), "levels": tuple(levels.tolist())},
    )
    unit = str(correlation[RADIAL].attrs.get("units", "cycles per pixel"))
    return result.assign_attrs(units=unit.removeprefix("cycles per "))


def _levels(correlation: xr.DataArray, threshold: float | str) -> npt.NDArray[np.float64]:
    """Return what the correlation must not fall below at each ring."""
    count = correlation.sizes[RADIAL]
    if isinstance(threshold, str):
        check_choice("threshold", threshold, ("one_seventh", "half_bit"))
        if threshold == "one_seventh":
            return np.full(count, SEVENTH)
        if POINTS not in correlation.coords:
            raise OperationError(
                f"correlation has no coordinate {POINTS!r}, which threshold='half_bit' needs; use "
                "what fourier_ring_correlation gives"
            )
        root = np.sqrt(correlation[POINTS].to_numpy().astype(np.float64))
        levels: npt.NDArray[np.float64] = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
        return levels
    check_number("threshold", threshold, above=0)
    if threshold >= 1:
        raise OperationError(f"threshold is {threshold!r}, but must be below 1")
    return np.full(count, float(threshold))


def first_fall(array: Array, *, middles: Sequence[float], levels: Sequence[float]) -> Array:
    """Return one over where the last axis first falls below `levels`; the first point is left out."""
    xp = namespace(array)
    real = as_real(array)
    nan = xp.asarray(xp.nan, dtype=real.dtype, device=device(real))
    result = xp.zeros(real.shape[:-1], dtype=real.dtype, device=device(real)) + nan
    above = real[..., 1:] - xp.asarray(levels[1:], dtype=real.dtype, device=device(real))
    going: Any = above[..., 0] >= 0
    for ring in range(1, above.shape[-1]):
        before, here = above[..., ring - 1], above[..., ring]
        falls = xp.logical_and(going, here < 0)
        drop = xp.where(falls, before - here, xp.ones_like(here))
        place = middles[ring] + (middles[ring + 1] - middles[ring]) * before / drop
        result = xp.where(falls, 1 / xp.where(falls, place, xp.ones_like(place)), result)
        going = xp.logical_and(going, here >= 0)
    return result
