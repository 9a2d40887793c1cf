"""How good a frame is, in one number, and keeping the good ones."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, finite_or_nan, namespace, ndimage
from forebay.ops._blocks import apply, replaced
from forebay.ops._checks import check_choice, check_frames, check_kernel
from forebay.ops.errors import OperationError
from forebay.ops.reduction.integers import check_held

CURVATURE = (1.0, -2.0, 1.0)
SLOPE, SMOOTH = (-1.0, 0.0, 1.0), (1.0, 2.0, 1.0)


def sharpness(
    frames: xr.DataArray,
    *,
    method: Literal["laplacian", "gradient"] = "laplacian",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return how sharp each frame is.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    method
        ``"laplacian"``, the variance of the frame's Laplacian, or ``"gradient"``, the mean of its
        squared gradient, which noise changes less.
    dims
        The two dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dims`; float64, in the square of the unit of `frames`. It compares frames of one
        scene under one light. A frame with a NaN or infinite pixel has NaN.

    Raises
    ------
    OperationError
        If a dimension is missing, there are not two, or the dtype is not real.

    Notes
    -----
    The Laplacian is the sum of second differences along both dimensions: J. L. Pech-Pacheco et
    al., Proc. 15th ICPR 3, 314 (2000). The gradient is Sobel's (Tenengrad): E. Krotkov, Int. J.
    Comput. Vis. 1, 223 (1988). Beyond the edge the frame goes on with its outermost pixel. Dask
    chunks that cut through `dims` are merged, lazily. Needs about four times the frame in float64
    as scratch.

    Worked on in float64: float32 is within 1e-10 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> edge = np.tile([0.0, 0, 0, 9, 9, 9], (6, 1))
    >>> soft = np.tile([0.0, 0, 3, 6, 9, 9], (6, 1))
    >>> frames = xr.DataArray(np.stack([edge, soft]), dims=("t", "y", "x"))
    >>> sharpness(frames).values
    array([27.,  3.])
    """
    check_frames(frames, dims)
    check_choice("method", method, ("laplacian", "gradient"))
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but must name the two dimensions of a frame")
    check_kernel(frames, dims, 2, "sharpness")
    return apply(
        frame_sharpness,
        frames,
        dims,
        dtype=np.dtype(np.float64),
        new_sizes={},
        kwargs={"method": method},
    )


def frame_sharpness(array: Array, *, method: str) -> Array:
    """Return the sharpness of the frames along the last two axes, float64."""
    xp, filters = namespace(array), ndimage(array)
    wide = finite_or_nan(array)

    def along(values: Array, weights: Sequence[float], axis: int) -> Array:
        kernel = xp.asarray(weights, dtype=xp.float64, device=device(array))
        return filters.correlate1d(values, kernel, axis=axis, mode="nearest")

    if method == "laplacian":
        return xp.var(along(wide, CURVATURE, -2) + along(wide, CURVATURE, -1), axis=(-2, -1))
    down, across = (
        along(along(wide, SLOPE, axis), SMOOTH, other) for axis, other in ((-2, -1), (-1, -2))
    )
    return xp.mean(down**2 + across**2, axis=(-2, -1))


def saturated_fraction(
    frames: xr.DataArray, *, level: float | None = None, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return which part of each frame's pixels is saturated.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    level
        Pixels that reach it are saturated; a value that the dtype of `frames` holds. None takes
        the highest value of an integer dtype.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dims`; float64, from 0 to 1, without ``units``. A NaN is not saturated.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real or cannot hold `level`, or floats have no
        `level`.

    Notes
    -----
    Dask chunks may cut through `dims`. Needs a byte for each pixel of a chunk as scratch.

    It is ``mean(frames >= level)``, exact.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[255, 3]], [[7, 254]]], "uint8"), dims=("t", "y", "x"))
    >>> saturated_fraction(frames).values
    array([0.5, 0. ])
    """
    check_frames(frames, dims)
    if level is None:
        if frames.dtype.kind == "f":
            raise OperationError(
                f"frames is of dtype {frames.dtype}, which has no highest value; give the level"
            )
        level = int(np.iinfo(frames.dtype).max)
    limit = check_held("level", level, frames.dtype)
    fraction = (frames >= limit).mean(dims, dtype=np.float64)
    attrs = {key: value for key, value in frames.attrs.items() if key != "units"}
    return fraction.rename(frames.name).assign_attrs(attrs)


def select_frames(frames: xr.DataArray, keep: xr.DataArray) -> xr.DataArray:
    """Return the frames for which `keep` is true.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    keep
        Bool, one-dimensional, along a dimension of `frames`, on the host: what a measure of the
        frames says, such as ``(sharpness(frames) > 9).compute()``, or its product with others,
        such as `saturated_fraction`, `pixel_variance` (blank frames have that of the noise) and
        `mean_change`.

    Returns
    -------
    xarray.DataArray
        Everything of `frames`, of those frames; nothing is changed in them, so that they and their
        coordinates say which frames they are.

    Raises
    ------
    OperationError
        If `keep` is no such array, is not computed, does not fit, or keeps none.

    Notes
    -----
    How many frames are kept must be known when the graph is built: that is why `keep` has to be
    computed, and `frames` need not.

    It is ``frames[keep]``: exact, and a NaN stays. Works chunk by chunk with Dask, without
    scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.arange(6).reshape(3, 1, 2), dims=("t", "y", "x"))
    >>> select_frames(frames, xr.DataArray([True, False, True], dims="t")).values.tolist()
    [[[0, 1]], [[4, 5]]]
    """
    check_frames(frames, ())
    given: Any = keep
    if not isinstance(given, xr.DataArray) or given.ndim != 1 or given.dtype != np.bool_:
        raise OperationError(
            "keep must be a one-dimensional xarray.DataArray of truth values, e.g. "
            "(sharpness(frames) > 9).compute()"
        )
    if keep.chunks is not None:
        raise OperationError(
            "keep is not computed, so that nobody knows how many frames there will be; use "
            "keep.compute()"
        )
    dim = keep.dims[0]
    check_frames(frames, [dim])
    if keep.sizes[dim] != frames.sizes[dim]:
        raise OperationError(
            f"keep has {keep.sizes[dim]} values along {dim!r}, but frames has {frames.sizes[dim]}"
        )
    index: Any = np.flatnonzero(keep.to_numpy())
    if not index.size:
        raise OperationError("keep is false for all frames; lower what is asked of them")
    kept = frames.isel({dim: index})
    return replaced(kept, kept.data)
