"""Moving frames by parts of a pixel."""

import math
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import (
    Array,
    as_real,
    library,
    namespace,
    ndimage,
    real_dtype,
    to_host,
    transforms,
)
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.registration.correlation import AXIS

type Beyond = Literal["nan", "nearest", "reflect", "wrap"]
"""What comes in from beyond the edge of a frame that is moved."""

MODES = {"nan": "constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}
"""What `scipy.ndimage` calls them."""


def correct_drift(
    frames: xr.DataArray,
    drift: xr.DataArray,
    *,
    method: Literal["spline", "fourier"] = "spline",
    order: int = 3,
    edge: Beyond = "nan",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` moved back by `drift`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    drift
        As `estimate_drift` and `phase_correlation` give it: a dimension ``axis``, whose coordinate
        names `dims`, in pixels; others are some of those of `frames`, of the same size. On the
        host, or where `frames` are.
    method
        ``"spline"`` interpolates between pixels near by; ``"fourier"`` turns the phases of waves,
        which loses nothing of what is periodic and rings at edges that are not.
    order
        Of the splines, 0 to 5: 0 takes the nearest pixel, 1 is linear.
    edge
        What comes in from beyond the edge: ``"nan"``; the ``"nearest"`` pixel; the frame mirrored,
        its edge pixel twice (``"reflect"``); or its other side (``"wrap"``). For ``"fourier"``
        NaN or the other side.
    dims
        The dimensions to move along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 5e-7 of the
        largest value of what float64 gives), or float64 for float64 frames. A frame whose drift is
        NaN is NaN.

    Raises
    ------
    OperationError
        If a dimension is missing, the two do not fit each other, a dtype is not real, or a
        parameter is out of range.

    Notes
    -----
    The result at p is the frame at ``p + drift``. Splines: `scipy.ndimage.shift`. Waves:
    ``exp(2πi f · drift)``, the real part of it at the highest frequency of an even size. With
    edge ``"nan"`` a pixel is NaN where ``p + drift`` is outside the middles of the outermost
    pixels. A NaN in a frame spreads to the pixels that are interpolated from it for orders 0 and
    1, and else to the whole frame.

    Frames are moved one at a time; as scratch a task needs some six times one frame in float64.
    Dask chunks that cut through `dims` are merged, lazily. The drift, a few numbers a frame, comes
    to the host.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.arange(5.0)[None], dims=("y", "x"))
    >>> drift = xr.DataArray([0, 1.5], dims="axis", coords={"axis": ["y", "x"]})
    >>> correct_drift(frames, drift, order=1, edge="nearest").values
    array([[1.5, 2.5, 3.5, 4. , 4. ]])
    """
    check_frames(frames, dims)
    check_choice("method", method, ("spline", "fourier"))
    check_whole("order", order, least=0)
    check_number("order", order, most=5)
    check_choice("edge", edge, MODES if method == "spline" else ("nan", "wrap"))
    along = fitting_displacement(drift, frames, dims)
    return apply(
        moved,
        frames,
        dims,
        dtype=real_dtype(frames.dtype),
        beside=[(along, [AXIS])],
        kwargs={"order": order if method == "spline" else None, "edge": edge},
    )


def fitting_displacement(
    drift: xr.DataArray, frames: xr.DataArray, dims: Sequence[Hashable]
) -> xr.DataArray:
    """Return `drift` along `dims` in their order; raise `OperationError` unless it fits `frames`."""
    check_frames(drift, [AXIS], name="drift")
    names = [str(dim) for dim in dims]
    given = drift[AXIS].to_numpy().tolist() if AXIS in drift.coords else None
    if given is None or sorted(map(str, given)) != sorted(names):
        raise OperationError(
            f"drift is along {given}, but must be along {names}; give its dimension {AXIS!r} a "
            "coordinate that names them"
        )
    for dim in drift.dims:
        if dim != AXIS and (dim in dims or frames.sizes.get(dim) != drift.sizes[dim]):
            raise OperationError(
                f"drift has {drift.sizes[dim]} values along {dim!r}, but frames has the sizes "
                f"{dict(frames.sizes)}; select the same part of both"
            )
    if library(drift.data) not in ("numpy", library(frames.data)):
        raise OperationError(
            f"drift is held by {library(drift.data)} and frames by {library(frames.data)}, but "
            "frames on the host need it there; bring it to the host"
        )
    return drift.sel({AXIS: names})


def moved(array: Array, drift: Array, *, order: int | None, edge: str) -> Array:
    """Return the frames in the last axes moved back by `drift`; `order` None turns phases."""
    xp, ndim = namespace(array), drift.shape[-1]
    real = as_real(array)
    leading = real.shape[:-ndim]
    places = np.broadcast_to(to_host(drift), (*leading, ndim)).reshape(-1, ndim)
    stack = xp.reshape(real, (-1, *real.shape[-ndim:]))
    each = [
        moved_frame(stack[number, ...], place.tolist(), order, edge)
        for number, place in enumerate(places.astype(np.float64))
    ]
    return xp.reshape(xp.stack(each), real.shape)


def moved_frame(frame: Array, drift: Sequence[float], order: int | None, edge: str) -> Array:
    """Return one frame moved back by `drift`."""
    xp = namespace(frame)
    if not all(math.isfinite(each) for each in drift):
        return xp.full_like(frame, xp.nan)
    if order is not None:
        back = [-each for each in drift]
        return ndimage(frame).shift(frame, back, order=order, mode=MODES[edge], cval=math.nan)
    waves = transforms(frame).rfftn(frame)
    for axis, each in enumerate(drift):
        size = frame.shape[axis]
        count = waves.shape[axis]
        frequency = np.fft.fftfreq(size)[:count]
        turn = np.exp(2j * np.pi * frequency * each)
        if size % 2 == 0:
            turn[size // 2] = np.cos(np.pi * each)
        shape = tuple(-1 if other == axis else 1 for other in range(frame.ndim))
        factor = xp.asarray(turn.reshape(shape), dtype=waves.dtype, device=device(waves))
        waves = waves * factor
    result = transforms(waves).irfftn(waves, s=frame.shape, axes=tuple(range(frame.ndim)))
    return result if edge == "wrap" else without_beyond(result, drift)


def without_beyond(frame: Array, drift: Sequence[float]) -> Array:
    """Return `frame` with NaN where it was moved in from beyond the edge."""
    xp = namespace(frame)
    nan = xp.asarray(xp.nan, dtype=frame.dtype, device=device(frame))
    for axis, each in enumerate(drift):
        source = np.arange(frame.shape[axis]) + each
        inside: Any = (source >= 0) & (source <= frame.shape[axis] - 1)
        shape = tuple(-1 if other == axis else 1 for other in range(frame.ndim))
        frame = xp.where(xp.asarray(inside.reshape(shape), device=device(frame)), frame, nan)
    return frame
