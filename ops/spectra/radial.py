"""Spectra without their direction."""

from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames
from forebay.ops.errors import OperationError

RADIAL = "freq_r"
"""The dimension of the result."""


def radial_average(
    spectrum: xr.DataArray, *, dims: Sequence[Hashable] = ("freq_y", "freq_x")
) -> xr.DataArray:
    """Return the mean of `spectrum` over rings about zero frequency.

    Parameters
    ----------
    spectrum
        As `power_spectrum` gives it: ascending, evenly spaced frequencies along `dims`, in the
        same unit.
    dims
        The two dimensions of the plane.

    Returns
    -------
    xarray.DataArray
        With ``freq_r`` in their place, last: the middle of each ring, in the same unit. A ring is
        as wide as the larger step of the two frequencies, the first reaches half as far, and the
        last is the last whose middle is within the band of both: the corners are left out.
        Float32, or float64 for a float64 spectrum.

    Raises
    ------
    OperationError
        If `dims` are not two dimensions with frequencies in one unit, or the dtype is not real.

    Notes
    -----
    All points of a ring count the same. A NaN makes its ring NaN. Dask chunks that cut through
    `dims` are merged, lazily.

    It is ``Σ spectrum / n`` over the n points of a ring. A task needs about four times its chunk as
    scratch.

    Float32 is within 3e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(1).normal(size=(8, 64, 64))
    >>> frames = xr.DataArray(values, dims=("t", "y", "x"))
    >>> from forebay.ops import power_spectrum
    >>> noise = radial_average(power_spectrum(frames)).mean("t")
    >>> noise.dims, noise.sizes["freq_r"], bool(abs(noise[5:] - 1).max() < 0.3)
    (('freq_r',), 33, True)
    """
    check_frames(spectrum, dims, name="spectrum")
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but rings need two dimensions")
    first, second = (plane_frequencies(spectrum, dim) for dim in dims)
    check_one_unit([spectrum[dim].attrs.get("units") for dim in dims], dims)
    rings = ring_count(first, second)
    result = apply(
        mean_over_rings,
        spectrum,
        dims,
        dtype=real_dtype(spectrum.dtype),
        new_sizes={RADIAL: rings},
        kwargs={"first": first, "second": second},
    )
    middle = (RADIAL, ring_width(first, second) * np.arange(rings), dict(spectrum[dims[1]].attrs))
    return result.assign_coords({RADIAL: middle})


def check_one_unit(units: Sequence[str | None], dims: Sequence[Hashable]) -> None:
    """Raise `OperationError` unless frequencies along two `dims` are in one of `units`."""
    if units[0] != units[1]:
        raise OperationError(
            f"frequencies are in {units[0]} along {dims[0]!r} and in {units[1]} along {dims[1]!r}, "
            "but rings need one unit; give both dimensions of the frames coordinates in it"
        )


def plane_frequencies(spectrum: xr.DataArray, dim: Hashable) -> tuple[float, ...]:
    """Return the frequencies along `dim`; raise `OperationError` if there are none."""
    values = spectrum[dim].to_numpy() if dim in spectrum.coords else np.empty(0, dtype=object)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise OperationError(
            f"spectrum has no frequencies along {dim!r}; use what power_spectrum gives"
        )
    return tuple(values.astype(np.float64).tolist())


def ring_width(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the larger step of two sets of frequencies."""
    return float(max((np.diff(each).max() for each in (first, second) if len(each) > 1), default=1))


def ring_count(first: Sequence[float], second: Sequence[float]) -> int:
    """Return how many rings have their middle within both bands."""
    band = min(np.abs(first).max(), np.abs(second).max())
    return int(band / ring_width(first, second) + 1e-6) + 1


def ring_numbers(
    first: Sequence[float], second: Sequence[float]
) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Return which ring each point of the plane is in, the middle one being zero."""
    radius = np.hypot(np.asarray(first)[:, None], np.asarray(second)[None, :])
    numbers: np.ndarray[tuple[int, ...], np.dtype[np.intp]] = np.rint(
        radius / ring_width(first, second)
    ).astype(np.intp)
    return numbers


def mean_over_rings(array: Array, *, first: Sequence[float], second: Sequence[float]) -> Array:
    """Return the mean over each ring of the last two axes, whose frequencies are given.

    The points are brought into the order of their rings in one step, so that a ring is a slice.
    """
    xp = namespace(array)
    real = as_real(array)
    ring = ring_numbers(first, second).ravel()
    order = np.argsort(ring, kind="stable")
    stops = np.searchsorted(ring[order], np.arange(1, ring_count(first, second) + 1))
    index = xp.asarray(order[: stops[-1]], device=device(array))
    flat = xp.take(xp.reshape(real, (*real.shape[:-2], -1)), index, axis=-1)
    means = [
        xp.mean(flat[..., start:stop], axis=-1) for start, stop in pairwise([0, *stops.tolist()])
    ]
    return xp.stack(means, axis=-1)
