"""Several pixels, or several frames, put together into one."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.ops._arrays import Array, empty_like_chunk, namespace, real_dtype
from forebay.ops._blocks import whole
from forebay.ops._checks import check_choice, check_frames, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.reduction.integers import common_limits, integer_dtype, smallest_integer

type BinMethod = Literal["mean", "sum"]

_MAX_ITEMSIZE = 4
_MAX_COUNT = 2**20


def bin_pixels(
    frames: xr.DataArray,
    *,
    factor: int | tuple[int, int],
    method: BinMethod = "mean",
    dtype: npt.DTypeLike | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the mean or the sum of each rectangle of pixels.

    Parameters
    ----------
    frames
        Integers of up to 32 bits, or floats; NumPy or CuPy, eager or Dask.
    factor
        Height and width of a rectangle, in pixels; one number for a square. The sizes of `frames`
        along `dims` must be multiples of them.
    method
        ``"mean"`` or ``"sum"``.
    dtype
        Of the result, an integer type, for integer frames only. Values beyond its range become
        the nearest end of it. By default the mean has the type of `frames`, and the sum the
        smallest type that no sum can overflow: uint32 for 2 × 2 pixels of uint16.
    dims
        The two dimensions to bin along.

    Returns
    -------
    xarray.DataArray
        Dimensions, name and attributes of `frames`; a coordinate along `dims` has the mean of its
        values in each bin, or the first where they are no numbers. Integer sums are exact.
        Integer means are rounded to the nearest number, by at most 0.5, halves to the even
        neighbour. Floats are worked on as elsewhere, in float32 or float64.

    Raises
    ------
    OperationError
        If a dimension is missing, a size is no multiple of its factor, the dtype of `frames` is
        not among those above, or a parameter is not allowed.

    Notes
    -----
    It is ``Σ pixels`` of a rectangle, or that divided by their number. A bin with a NaN is NaN.
    Works chunk by chunk with Dask; a task needs about three times its chunk in float32 as
    scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[1, 2, 9, 9], [3, 4, 9, 9]]], "uint8"), dims=("t", "y", "x"))
    >>> bin_pixels(frames, factor=2).values
    array([[[2, 9]]], dtype=uint8)
    >>> bin_pixels(frames, factor=2, method="sum").values
    array([[[10, 36]]], dtype=uint16)
    """
    check_frames(frames, dims)
    check_choice("method", method, ("mean", "sum"))
    factors = dict(zip(dims, check_factor(factor), strict=True))
    for dim, count in factors.items():
        check_multiple(dim, frames.sizes[dim], count)
    types = bin_types(frames.dtype, factors.values(), method, dtype)
    kwargs: dict[str, Any] = {
        "factors": {frames.get_axis_num(dim): count for dim, count in factors.items()},
        "method": method,
        "types": tuple(type_.name for type_ in types),
    }
    return _replaced(frames, factors, _on_chunks(frames, factors, types[1], kwargs))


def bin_frames(
    frames: xr.DataArray,
    *,
    factor: int,
    method: BinMethod = "mean",
    dtype: npt.DTypeLike | None = None,
    dim: Hashable = "t",
) -> xr.DataArray:
    """Return the mean or the sum of every `factor` frames that follow each other.

    Parameters
    ----------
    frames
        Integers of up to 32 bits, or floats; NumPy or CuPy, eager or Dask.
    factor
        How many frames become one. The size of `frames` along `dim` must be a multiple of it.
    method
        ``"mean"`` or ``"sum"``.
    dtype
        Of the result, an integer type, for integer frames only. Values beyond its range become
        the nearest end of it. By default the mean has the type of `frames`, and the sum the
        smallest type that no sum can overflow.
    dim
        The dimension along which frames follow each other.

    Returns
    -------
    xarray.DataArray
        Dimensions, name and attributes of `frames`; a coordinate along `dim` has the mean of its
        values in each bin, or the first where they are no numbers. Integer sums are exact.
        Integer means are rounded to the nearest number, by at most 0.5, halves to the even
        neighbour. Floats are worked on as elsewhere, in float32 or float64. A NaN makes NaN of
        its pixel's bin.

    Raises
    ------
    OperationError
        If the dimension is missing, its size is no multiple of `factor`, the dtype of `frames` is
        not among those above, or a parameter is not allowed.

    Notes
    -----
    The bytes become ``1 / factor`` of what they were for means, and not less than that for sums.
    Dask chunks whose length along `dim` is no multiple of `factor` are merged, lazily. Needs about
    three times the chunk in the type of the sum as scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.arange(8, dtype="uint8").reshape(4, 1, 2), dims=("t", "y", "x"))
    >>> bin_frames(frames, factor=2, method="sum").values.tolist()
    [[[2, 4]], [[10, 12]]]
    """
    check_frames(frames, [dim])
    check_choice("method", method, ("mean", "sum"))
    if check_whole("factor", factor, least=1) > _MAX_COUNT:
        raise OperationError(f"factor is {factor}: that is more than {_MAX_COUNT} frames to a bin")
    check_multiple(dim, frames.sizes[dim], factor, what="frames")
    types = bin_types(frames.dtype, (factor,), method, dtype)
    kwargs: dict[str, Any] = {
        "factors": {frames.get_axis_num(dim): int(factor)},
        "method": method,
        "types": tuple(type_.name for type_ in types),
    }
    factors = {dim: int(factor)}
    return _replaced(frames, factors, _on_chunks(frames, factors, types[1], kwargs))


def binned(
    array: Array, *, factors: Mapping[int, int], method: BinMethod, types: tuple[str, str]
) -> Array:
    """Return `array` binned along the axes of `factors`, summed in the first of `types`.

    Values are added along the first axis, in their order, and then along the next.
    """
    xp = namespace(array)
    total = xp.astype(array, getattr(xp, types[0]))
    for axis, factor in factors.items():
        before = (slice(None),) * axis
        parts = [total[(*before, slice(start, None, factor), ...)] for start in range(factor)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
    if method == "mean":
        total = _divided(total, int(np.prod(list(factors.values()))))
    if xp.isdtype(total.dtype, "integral"):
        total = xp.clip(total, *common_limits(np.dtype(types[0]), np.dtype(types[1])))
    return xp.astype(total, getattr(xp, types[1]))


def _divided(total: Array, count: int) -> Array:
    """Return ``total / count``; of integers the nearest one, and the even one of two."""
    if not namespace(total).isdtype(total.dtype, "integral"):
        return total / count
    if count % 2:
        return (total + count // 2) // count
    return (total + (count // 2 - 1) + ((total // count) & 1)) // count


def check_factor(factor: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a bin."""
    pair = factor if isinstance(factor, tuple | list) else (factor, factor)
    if len(pair) != 2:
        raise OperationError(f"factor is {factor!r}, but must be one number, or height and width")
    height, width = (check_whole("factor", each, least=1) for each in pair)
    if height * width > _MAX_COUNT:
        raise OperationError(
            f"factor is {factor!r}: that is more than {_MAX_COUNT} pixels to a bin"
        )
    return height, width


def check_multiple(dim: Hashable, size: int, factor: int, *, what: str = "pixels") -> None:
    """Raise `OperationError` unless bins of `factor` pixels (or frames) fill `size` of them."""
    if size % factor:
        fitting = size - size % factor
        remedy = f"crop {dim!r} to {fitting} first, or " if fitting else ""
        raise OperationError(
            f"frames has {size} {what} along {dim!r}, which is no multiple of {factor}; "
            f"{remedy}use a factor that divides it"
        )


def bin_types(
    dtype: np.dtype[Any], factors: Any, method: BinMethod, result: npt.DTypeLike | None
) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the type that bins are summed in, and the type of the result.

    Raises
    ------
    OperationError
        If there are none.

    Examples
    --------
    >>> bin_types(np.dtype("uint16"), (2, 2), "mean", None)
    (dtype('uint32'), dtype('uint16'))
    """
    if dtype.kind == "f":
        if result is not None:
            raise OperationError(
                f"dtype is {result!r}, but frames is of dtype {dtype}, which stays a float; leave "
                "dtype out, or convert by to_integers"
            )
        return real_dtype(dtype), real_dtype(dtype)
    if dtype.itemsize > _MAX_ITEMSIZE:
        raise OperationError(
            f"frames is of dtype {dtype}, whose sums can overflow; convert to 32 bits or floats"
        )
    count = int(np.prod(list(factors)))
    ends = np.iinfo(dtype)
    # Room for one pixel more, which rounding needs.
    wide = smallest_integer(int(ends.min) * (count + 1), int(ends.max) * (count + 1))
    if result is not None:
        return wide, integer_dtype(result)
    if method == "mean":
        return wide, dtype.newbyteorder("=")
    return wide, smallest_integer(int(ends.min) * count, int(ends.max) * count)


def _on_chunks(
    frames: xr.DataArray,
    factors: Mapping[Hashable, int],
    dtype: np.dtype[Any],
    kwargs: Mapping[str, Any],
) -> Array:
    if frames.chunks is None:
        return binned(frames.data, **kwargs)
    lengths = frames.variable.chunksizes
    torn = [dim for dim, factor in factors.items() if any(n % factor for n in lengths[dim])]
    frames = whole(frames, torn)
    chunks = tuple(
        tuple(length // factors.get(dim, 1) for length in frames.variable.chunksizes[dim])
        for dim in frames.dims
    )
    meta = empty_like_chunk(frames.data, dtype)
    return frames.data.map_blocks(binned, dtype=dtype, chunks=chunks, meta=meta, **kwargs)


def _replaced(frames: xr.DataArray, factors: Mapping[Hashable, int], data: Array) -> xr.DataArray:
    """Return binned `data` with what describes `frames`."""
    result = xr.DataArray(data, dims=frames.dims, name=frames.name, attrs=frames.attrs)
    chunks = result.variable.chunksizes
    return result.assign_coords(
        {
            name: _binned_coordinate(coordinate, factors, chunks)
            for name, coordinate in frames.coords.items()
        }
    )


def _binned_coordinate(
    coordinate: xr.DataArray, factors: Mapping[Hashable, int], chunks: Mapping[Any, Any]
) -> xr.Variable:
    alone = xr.DataArray(coordinate.variable.to_base_variable())
    along = {dim: factors[dim] for dim in alone.dims if dim in factors}
    if along and alone.dtype.kind in "iufmM":
        alone = alone.coarsen(along, boundary="exact").mean(keep_attrs=True)
    elif along:
        alone = alone.isel({dim: slice(None, None, step) for dim, step in along.items()})
    variable = alone.variable
    if variable.chunks is None:
        return variable
    return variable.chunk({dim: chunks[dim] for dim in variable.dims})
