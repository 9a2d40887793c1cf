"""Growing and shrinking what is bright: erosion, dilation, and what they are put together to.

All of them take `frames`, the `size` of the footprint and its shape, and have these things in
common. Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of
all pixels that it can reach, which are those under one footprint around it for a single erosion
or dilation, and under two for the others. Values are those of the frame, exactly; integers of 32
and 64 bits lose what float32 cannot hold. Dask chunks may cut through the dimensions: each task
borrows the rim that it needs, and the result is the eager one, bit for bit.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr

from forebay.ops._arrays import Array, as_real
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.footprint import Footprint, Rank, check_footprint, ranked, spreading_nan
from forebay.ops.filters.parts import in_slabs

ERODE: Rank = "minimum"
DILATE: Rank = "maximum"


def erosion(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "disc",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the least value under the footprint around each pixel.

    Bright things lose a rim of ``size // 2`` pixels, dark ones gain it.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the footprint, pixels across, odd.
    footprint
        ``"disc"``, the pixels whose centres are within ``size // 2`` of the middle, or
        ``"square"``, which is much faster.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the footprint.

    Notes
    -----
    ``ε(f)[n] = min f[n + k]`` over the steps k from the middle of the footprint to its pixels.

    Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of all
    pixels whose footprint holds it. Dask chunks may cut through `dims`: each task borrows
    ``size // 2`` pixels from its neighbours, and the result is the eager one, bit for bit. A task
    needs about its chunk in float32 as scratch, and four frames.

    Serra, Image Analysis and Mathematical Morphology, chapter 12 (1982).

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((8, 8), "uint8"), dims=("y", "x"))
    >>> frame[2:6, 2:6] = 1
    >>> float(erosion(frame, size=3, footprint="square").sum())
    4.0
    """
    return filtered(frames, [ERODE], size=size, footprint=footprint, dims=dims)


def dilation(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "disc",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the largest value under the footprint around each pixel.

    Bright things gain a rim of ``size // 2`` pixels, dark ones lose it.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the footprint, pixels across, odd.
    footprint
        ``"disc"``, the pixels whose centres are within ``size // 2`` of the middle, or
        ``"square"``, which is much faster.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the footprint.

    Notes
    -----
    ``δ(f)[n] = max f[n + k]`` over the steps k from the middle of the footprint to its pixels.

    Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of all
    pixels whose footprint holds it. Dask chunks may cut through `dims`: each task borrows
    ``size // 2`` pixels from its neighbours, and the result is the eager one, bit for bit. A task
    needs about its chunk in float32 as scratch, and four frames.

    Serra, Image Analysis and Mathematical Morphology, chapter 12 (1982).

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((8, 8), "uint8"), dims=("y", "x"))
    >>> frame[2:6, 2:6] = 1
    >>> float(dilation(frame, size=3, footprint="square").sum())
    36.0
    """
    return filtered(frames, [DILATE], size=size, footprint=footprint, dims=dims)


def opening(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "disc",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` eroded and then dilated.

    Bright things that the footprint does not fit into are gone; the rest stays as it is. Nowhere
    above `frames`; opening twice is opening once.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the footprint, pixels across, odd.
    footprint
        ``"disc"``, the pixels whose centres are within ``size // 2`` of the middle, or
        ``"square"``, which is much faster.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the footprint.

    Notes
    -----
    ``δ(ε(f))``, with the `erosion` ε and the `dilation` δ by the same footprint.

    Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of all
    pixels within two footprints of it. Dask chunks may cut through `dims`: each task borrows ``2 *
    (size // 2)`` pixels from its neighbours, and the result is the eager one, bit for bit. A task
    needs about its chunk in float32 as scratch, and four frames.

    Serra, Image Analysis and Mathematical Morphology, chapter 12 (1982).

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((8, 8), "uint8"), dims=("y", "x"))
    >>> frame[2:6, 2:6] = 1
    >>> float(opening(frame, size=5, footprint="square").sum())
    0.0
    """
    return filtered(frames, [ERODE, DILATE], size=size, footprint=footprint, dims=dims)


def closing(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "disc",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` dilated and then eroded.

    Dark things that the footprint does not fit into are gone; the rest stays as it is. Nowhere
    below `frames`; closing twice is closing once.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the footprint, pixels across, odd.
    footprint
        ``"disc"``, the pixels whose centres are within ``size // 2`` of the middle, or
        ``"square"``, which is much faster.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the footprint.

    Notes
    -----
    ``ε(δ(f))``, with the `dilation` δ and the `erosion` ε by the same footprint.

    Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of all
    pixels within two footprints of it. Dask chunks may cut through `dims`: each task borrows ``2 *
    (size // 2)`` pixels from its neighbours, and the result is the eager one, bit for bit. A task
    needs about its chunk in float32 as scratch, and four frames.

    Serra, Image Analysis and Mathematical Morphology, chapter 12 (1982).

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((8, 8), "uint8"), dims=("y", "x"))
    >>> frame[2:6, 2:6] = 1
    >>> float(closing(frame, size=3, footprint="square").sum())
    16.0
    """
    return filtered(frames, [DILATE, ERODE], size=size, footprint=footprint, dims=dims)


def white_top_hat(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "disc",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` less their `opening`.

    What is left are the bright things that the footprint does not fit into, on no background.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the footprint, pixels across, odd.
    footprint
        ``"disc"``, the pixels whose centres are within ``size // 2`` of the middle, or
        ``"square"``, which is much faster.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the footprint.

    Notes
    -----
    ``f - δ(ε(f))``, with the `erosion` ε and the `dilation` δ by the same footprint.

    Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of all
    pixels within two footprints of it. Dask chunks may cut through `dims`: each task borrows ``2 *
    (size // 2)`` pixels from its neighbours, and the result is the eager one, bit for bit. A task
    needs about its chunk in float32 as scratch, and four frames.

    Meyer, Contrast features extraction, in: Quantitative Analysis of Microstructures (1978); Serra,
    Image Analysis and Mathematical Morphology, chapter 12 (1982).

    Float32 is within 1e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((8, 8), "uint8"), dims=("y", "x"))
    >>> frame[2:6, 2:6] = 1
    >>> float(white_top_hat(frame, size=5, footprint="square").sum())
    16.0
    """
    return filtered(
        frames, [ERODE, DILATE], size=size, footprint=footprint, dims=dims, over=1, under=-1
    )


def black_top_hat(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "disc",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the `closing` of `frames`, less `frames`.

    What is left are the dark things that the footprint does not fit into, now bright.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the footprint, pixels across, odd.
    footprint
        ``"disc"``, the pixels whose centres are within ``size // 2`` of the middle, or
        ``"square"``, which is much faster.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the footprint.

    Notes
    -----
    ``ε(δ(f)) - f``, with the `dilation` δ and the `erosion` ε by the same footprint.

    Beyond the edge there is nothing: only pixels of the frame are compared. A NaN makes NaN of all
    pixels within two footprints of it. Dask chunks may cut through `dims`: each task borrows ``2 *
    (size // 2)`` pixels from its neighbours, and the result is the eager one, bit for bit. A task
    needs about its chunk in float32 as scratch, and four frames.

    Meyer, Contrast features extraction, in: Quantitative Analysis of Microstructures (1978); Serra,
    Image Analysis and Mathematical Morphology, chapter 12 (1982).

    Float32 is within 1e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((8, 8), "uint8"), dims=("y", "x"))
    >>> frame[2:6, 2:6] = 1
    >>> float(black_top_hat(frame, size=3, footprint="square").sum())
    0.0
    """
    return filtered(
        frames, [DILATE, ERODE], size=size, footprint=footprint, dims=dims, over=-1, under=1
    )


def filtered(
    frames: xr.DataArray,
    steps: Sequence[Rank],
    *,
    size: int,
    footprint: Footprint,
    dims: Sequence[Hashable],
    over: int = 0,
    under: int = 0,
) -> xr.DataArray:
    """Return ``over * frames + under * result``, or the result of `steps` where both are zero.

    One of them is 1 and the other one -1 where they are not zero.
    """
    size = check_footprint(frames, size, footprint, dims)
    kwargs: dict[str, Any] = {
        "steps": tuple(steps),
        "signs": (over, under),
        "size": size,
        "footprint": footprint,
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
    }
    rims = dict.fromkeys(dims, len(steps) * (size // 2))
    return apply_with_rim(stepwise, frames, rims, kwargs=kwargs)


def stepwise(array: Array, *, steps: Sequence[Rank], signs: tuple[int, int], **shape: Any) -> Array:
    """Return `array` eroded or dilated, one of `steps` after the other.

    `signs`, unless they are zero, are those with which the array and the result are added.
    """

    def stepped(frame: Array) -> Array:
        result = frame
        for rank in steps:
            result = spreading_nan(
                lambda known, rank=rank: ranked(known, rank, **shape),  # type: ignore[misc]
                result,
                lambda mask: ranked(mask, DILATE, **shape),
            )
        result = as_real(result)
        if signs == (0, 0):
            return result
        return as_real(frame) - result if signs[0] > 0 else result - as_real(frame)

    # A frame after the other: what lies between two steps is of one of them.
    return in_slabs(stepped, array, shape["axes"])
