"""Maxima that rise by a given height out of what surrounds them."""

from collections.abc import Hashable, Sequence
from itertools import product
from typing import Any

import array_api_compat
import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, ndimage
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_number


def h_maxima(
    frames: xr.DataArray, *, h: float, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Mark the maxima from which every way to higher ground descends by `h` or more.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    h
        Least height of a maximum above the lowest point of the best way to a higher pixel, in the
        unit of `frames`; above 0. About three times the noise.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`, but for ``units``; uint8: 1 for
        the pixels of a maximum, which may be several, else 0. `label` numbers them.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or `h` is out of range.

    Notes
    -----
    The marked pixels are those with ``f - R(f - h) >= h``, where R is the morphological
    reconstruction by dilation of ``f - h`` under f, with diagonal neighbours: P. Soille,
    Morphological Image Analysis, 2nd edition, chapter 6. The highest pixel of a frame is
    always a maximum. Work is done in float64, to which 64-bit integers above 2**53 are rounded. A
    height that is smaller than `h` by no more than 1e-12 of the largest value of the frame (1e-6
    for float16 and float32) counts as `h`: rounding may have taken that much.

    A NaN or infinite pixel counts as lower than any other and is never a maximum.

    On NumPy the reconstruction is scikit-image's. On a GPU it is iterated until nothing changes,
    which takes as many steps as the longest way is long.

    Dask chunks that cut through `dims` are merged, lazily. Needs about ten times the frame in
    float64 as scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[0, 5, 4, 9, 0, 2, 0]], "uint8"), dims=("y", "x"))
    >>> h_maxima(frames, h=2).values
    array([[0, 0, 0, 1, 0, 1, 0]], dtype=uint8)
    """
    check_frames(frames, dims)
    height = check_number("h", h, above=0)
    kwargs: dict[str, Any] = {"ndim": len(dims), "h": height}
    result = apply(marked_maxima, frames, dims, dtype=np.dtype(np.uint8), kwargs=kwargs)
    result.attrs = {key: value for key, value in result.attrs.items() if key != "units"}
    return result


def marked_maxima(array: Array, *, ndim: int, h: float) -> Array:
    """Return 1 where the last `ndim` axes of `array` have a maximum of height `h`, else 0."""
    xp, axes = namespace(array), tuple(range(-ndim, 0))
    precise = xp.isdtype(array.dtype, "integral") or xp.finfo(array.dtype).bits == 64
    values = xp.astype(array if precise else as_real(array), xp.float64)
    known = xp.isfinite(values)
    lowest = xp.full_like(values, float(xp.finfo(xp.float64).min))
    largest = xp.max(xp.abs(xp.where(known, values, xp.zeros_like(values))), axis=axes)
    slack = largest * (1e-12 if precise else 1e-6)
    values = xp.where(known, values, lowest)
    leading = values.shape[: values.ndim - ndim]
    result = xp.zeros(values.shape, dtype=xp.uint8, device=device(array))
    for place in product(*map(range, leading)):
        frame = values[(*place, ...)]
        rise = frame - reconstructed(frame - h, frame)
        result[(*place, ...)] = xp.astype(rise >= h - slack[place], xp.uint8)
    return xp.where(known, result, xp.zeros_like(result))


def reconstructed(seed: Array, mask: Array) -> Array:
    """Return `seed` dilated under `mask`, with diagonal neighbours, until nothing changes."""
    if array_api_compat.is_numpy_array(seed):
        import skimage.morphology

        result: Array = skimage.morphology.reconstruction(  # type: ignore[no-untyped-call]
            seed, mask, method="dilation", footprint=np.ones((3,) * seed.ndim)
        )
        return result
    return reconstructed_by_steps(seed, mask)


def reconstructed_by_steps(seed: Array, mask: Array) -> Array:
    """Return what `reconstructed` gives, by one dilation after the other."""
    xp, filters = namespace(seed), ndimage(seed)
    while True:
        grown = xp.minimum(filters.maximum_filter(seed, size=3, mode="nearest"), mask)
        if not bool(xp.any(grown > seed)):
            return seed
        seed = grown
