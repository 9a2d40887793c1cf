"""Spectra without their direction."""

from collections.abc import Hashable, Sequence
from typing import Any

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
        If `dims` are not two dimensions with frequencies, or the dtype is not real.

    Notes
    -----
    All points of a ring count the same. A NaN makes its ring NaN. Dask chunks that cut through
    `dims` are merged, lazily.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.random.default_rng(1).normal(size=(8, 64, 64)), dims="tyx")
    >>> from forebay.ops import power_spectrum
    >>> noise = radial_average(power_spectrum(frames)).mean("t")
    >>> noise.dims, noise.sizes["freq_r"], bool(abs(noise[5:] - 1).max() < 0.3)
    (('freq_r',), 33, True)
    """
    check_frames(spectrum, dims, name="spectrum")
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but rings need two dimensions")
    for dim in dims:
        if dim not in spectrum.coords:
            raise OperationError(
                f"spectrum has no frequencies along {dim!r}; use what power_spectrum gives"
            )
    first, second = (spectrum[dim].to_numpy().astype(np.float64) for dim in dims)
    width, rings = ring_pixels(first, second)
    result = apply(
        mean_over_rings,
        spectrum,
        dims,
        dtype=real_dtype(spectrum.dtype),
        new_sizes={RADIAL: len(rings)},
        kwargs={"rings": rings},
    )
    middle = (RADIAL, width * np.arange(len(rings)), dict(spectrum[dims[1]].attrs))
    return result.assign_coords({RADIAL: middle})


def ring_pixels(
    first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]
) -> tuple[float, list[np.ndarray[Any, Any]]]:
    """Return the width of a ring, and for each ring the flat indices of its points."""
    steps = [np.diff(each).max() for each in (first, second) if each.size > 1]
    width = float(max(steps, default=1.0))
    band = min(np.abs(first).max(), np.abs(second).max())
    count = int(band / width + 1e-6) + 1
    ring = np.rint(np.hypot(first[:, None], second[None, :]) / width).astype(np.intp).ravel()
    order = np.argsort(ring, kind="stable")
    bounds = np.searchsorted(ring[order], np.arange(count + 1))
    return width, [order[start:stop] for start, stop in zip(bounds, bounds[1:], strict=False)]


def mean_over_rings(array: Array, *, rings: Sequence[np.ndarray[Any, Any]]) -> Array:
    """Return the mean over each of `rings`, flat indices into the last two axes."""
    xp = namespace(array)
    real = as_real(array)
    flat = xp.reshape(real, (*real.shape[:-2], -1))
    means = [
        xp.mean(xp.take(flat, xp.asarray(ring, device=device(array)), axis=-1), axis=-1)
        for ring in rings
    ]
    return xp.stack(means, axis=-1)
