"""Cosmic rays: pixels brighter than the optics could have made them, beside what is around."""

from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_kernel, check_number, check_whole
from forebay.ops.correction.bad_pixels import repaired
from forebay.ops.errors import OperationError
from forebay.ops.filters.footprint import ranked
from forebay.ops.filters.median import local_median
from forebay.ops.filters.parts import in_parts
from forebay.ops.filters.shifts import padded, shifted

FAINTEST = 0.01
"""Fine structure below this many times the noise counts as this much."""

LARGEST_WINDOW = 7
"""Side of the largest median that is taken, pixels."""


def remove_cosmic_rays(
    frames: xr.DataArray,
    *,
    read_noise: float,
    gain: float = 1.0,
    threshold: float = 4.5,
    neighbour_threshold: float | None = None,
    contrast: float = 5.0,
    iterations: int = 4,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` with cosmic rays and other sharp bright pixels filled in.

    Parameters
    ----------
    frames
        Integer or float, dark subtracted, any dimensions that include `dims`; NumPy or CuPy, eager
        or Dask.
    read_noise
        Standard deviation of the camera's noise without light, in electrons, above 0; from
        `photon_transfer`.
    gain
        Electrons for each count of `frames`, above 0; from `photon_transfer`. 1 for frames in
        electrons.
    threshold
        How far a pixel stands out, in standard deviations of its noise, above 0.
    neighbour_threshold
        The same for pixels beside one that was found; None takes 0.3 of `threshold`.
    contrast
        How much sharper than the symmetric structure around it a pixel must be, above 0. Where
        the optics fill less than two pixels, 5 spares point sources; 2 finds more where they are
        well sampled.
    iterations
        How often to look again at what was filled in, at least 1.
    dims
        The two dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames. What is not found is as it was. What is found becomes the median of the other
        pixels within two pixels of it, or NaN if there are none.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than 7 pixels.

    Notes
    -----
    The method is L.A.Cosmic: van Dokkum, Publ. Astron. Soc. Pac. 113, 1420 (2001). Each pixel is
    split into four; L is the mean of the positive parts of their Laplacians, which for a pixel and
    its neighbours above (or below) and beside are ``2 f - f(v) - f(h)``. The noise is ``N =
    sqrt(gain m + read_noise²) / gain``, where m is the median of 5 × 5 pixels, and ``S = L / 2N``,
    from which its own median of 5 × 5 is taken. The fine structure F is the median of 3 × 3 pixels,
    less the median of 7 × 7 of that. A pixel is found if ``S > threshold`` and ``S > contrast * F /
    N``.

    Beyond the edge the frame goes on with its outermost pixel. A NaN stays; nothing is found
    within four pixels of it. Dark sharp pixels stay: see `bad_pixels`.

    Dask chunks that cut through `dims` are merged, lazily, so that a task holds whole frames. A
    task works on a few frames at a time, for which it needs about ten times their float32 bytes as
    scratch.

    Float32 is within 1e-7 of the largest value where the same pixels are found.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> sky = np.random.default_rng(0).poisson(100, (32, 32))
    >>> sky[10, 12] = 900
    >>> frames = xr.DataArray(sky, dims=("y", "x"))
    >>> bool(remove_cosmic_rays(frames, read_noise=5)[10, 12] < 120)
    True
    """
    check_frames(frames, dims)
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but must name two dimensions")
    check_kernel(frames, dims, LARGEST_WINDOW, "the median around each pixel")
    threshold = check_number("threshold", threshold, above=0)
    if neighbour_threshold is None:
        neighbour_threshold = 0.3 * threshold
    kwargs: dict[str, Any] = {
        "read_noise": check_number("read_noise", read_noise, above=0),
        "gain": check_number("gain", gain, above=0),
        "threshold": threshold,
        "neighbour_threshold": check_number("neighbour_threshold", neighbour_threshold, above=0),
        "contrast": check_number("contrast", contrast, above=0),
        "iterations": check_whole("iterations", iterations, least=1),
    }
    return apply(cleaned, frames, dims, dtype=real_dtype(frames.dtype), kwargs=kwargs)


def cleaned(array: Array, **parameters: Any) -> Array:
    """Return frames, along the last two axes, without cosmic rays, a few at a time."""
    return in_parts(lambda real: cleaned_together(real, **parameters), array, plane(array))


def cleaned_together(
    real: Array,
    *,
    iterations: int,
    threshold: float,
    neighbour_threshold: float,
    contrast: float,
    gain: float,
    read_noise: float,
) -> Array:
    """Return frames, along the last two axes, without cosmic rays."""
    result, xp = real, namespace(real)
    found = xp.zeros(result.shape, dtype=xp.bool, device=device(result))
    for _ in range(iterations):
        stands_out, structure = significance(result, gain=gain, read_noise=read_noise)
        # What was a cosmic ray once is not trusted again: it grows from round to round.
        seeds = (stands_out > threshold) & (stands_out > contrast * structure)
        beside = ranked(
            xp.astype(seeds, xp.uint8), "maximum", size=3, footprint="square", axes=plane(result)
        )
        new = seeds | ((beside > 0) & (stands_out > neighbour_threshold))
        if not bool(xp.any(new & ~found)):
            break
        found = found | new
        result = repaired(real, found, reach=2)
    return result


def significance(array: Array, *, gain: float, read_noise: float) -> tuple[Array, Array]:
    """Return how far each pixel stands out and how much fine structure is there, over the noise."""
    xp, axes = namespace(array), plane(array)

    def median(values: Array, size: int) -> Array:
        return local_median(values, size=size, footprint="square", axes=axes)

    around = padded(array, 1, axes)
    up, down, left, right = (
        shifted(around, {axes[0]: dy, axes[1]: dx}, 1)
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
    )
    edges = xp.zeros_like(array)
    for vertical in (up, down):
        for beside in (left, right):
            edges = edges + xp.clip(2 * array - vertical - beside, 0) / 4
    noise = xp.sqrt(gain * xp.clip(median(array, 5), 0) + read_noise**2) / gain
    stands_out = edges / (2 * noise)
    stands_out = stands_out - median(stands_out, 5)
    smooth = median(array, 3)
    structure = xp.clip((smooth - median(smooth, 7)) / noise, FAINTEST)
    return stands_out, structure


def plane(array: Array) -> tuple[int, int]:
    """Return the last two axes of `array`, counted from the first."""
    return array.ndim - 2, array.ndim - 1
