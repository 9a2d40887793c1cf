"""Smoothing that flows within regions and hardly across their edges."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import xarray as xr

from forebay.ops._arrays import Array, namespace
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.parts import in_parts


def anisotropic_diffusion(
    frames: xr.DataArray,
    *,
    iterations: int,
    edge: float,
    step: float | None = None,
    conductance: Literal["exponential", "reciprocal"] = "exponential",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` after values have flowed between neighbours, less across edges.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    iterations
        How many steps in time are made. Within even regions it is a blur over about
        ``sqrt(2 * iterations * step)`` pixels.
    edge
        Differences between neighbours above this are sharpened, those below smoothed; in the unit
        of `frames`, above 0. A few times the noise.
    step
        In time, above 0 and at most the default, None: one half over the number of `dims`, the
        largest one with which nothing new can appear.
    conductance
        ``"exponential"``, ``exp(-(d / edge)²)``, prefers strong edges over weak ones;
        ``"reciprocal"``, ``1 / (1 + (d / edge)²)``, wide regions over small ones.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-6 of the
        largest value of what float64 gives), or float64 for float64 frames. Each frame keeps its
        mean, and its values stay between its least and largest one.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or a parameter is out of range.

    Notes
    -----
    In each iteration a pixel gains ``step * Σ g(d) d`` over its nearest neighbours, where d is what
    they have more and g the conductance: Perona and Malik, IEEE Trans. Pattern Anal. Mach. Intell.
    12, 629 (1990), section V. Nothing flows across the edge of the frame. A NaN makes NaN of all
    pixels that are at most `iterations` steps from it.

    Dask chunks may cut through `dims`: each task borrows `iterations` pixels from its neighbours,
    and the result is the eager one, bit for bit. A task works on a few frames at a time, for which
    it needs about seven times their float32 bytes as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> noise = np.random.default_rng(0).normal(0, 2, (32, 32))
    >>> frame = xr.DataArray(noise + 100 * (np.arange(32) > 15), dims=("y", "x"))
    >>> smooth = anisotropic_diffusion(frame, iterations=20, edge=10)
    >>> bool(smooth[:, 16].mean() - smooth[:, 15].mean() > 95), bool(smooth[:, :16].std() < 0.5)
    (True, True)
    """
    check_frames(frames, dims)
    check_choice("conductance", conductance, ("exponential", "reciprocal"))
    most = 0.5 / max(len(dims), 1)
    count = check_whole("iterations", iterations, least=1)
    kwargs: dict[str, Any] = {
        "iterations": count,
        "edge": check_number("edge", edge, above=0),
        "step": most if step is None else check_number("step", step, above=0, most=most),
        "exponential": conductance == "exponential",
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
    }
    return apply_with_rim(diffused, frames, dict.fromkeys(dims, count), kwargs=kwargs)


def diffused(
    array: Array,
    *,
    iterations: int,
    edge: float,
    step: float,
    exponential: bool,
    axes: Sequence[int],
) -> Array:
    """Return `array` after `iterations` steps of the flow between neighbours along `axes`."""

    def flowed(real: Array) -> Array:
        xp = namespace(real)
        for _ in range(iterations):
            change = xp.zeros_like(real)
            for axis in axes:
                size = real.shape[axis]
                ahead = along(axis, slice(1, size), real.ndim)
                behind = along(axis, slice(0, size - 1), real.ndim)
                difference = real[ahead] - real[behind]
                squared = (difference / edge) ** 2
                flow = difference * (xp.exp(-squared) if exponential else 1 / (1 + squared))
                nothing = xp.zeros_like(real[along(axis, slice(0, 1), real.ndim)])
                change = change + xp.concat([flow, nothing], axis=axis)
                change = change - xp.concat([nothing, flow], axis=axis)
            real = real + step * change
        return real

    return in_parts(flowed, array, axes)


def along(axis: int, part: slice, ndim: int) -> tuple[slice, ...]:
    """Return the index that takes `part` of one axis and all of the others."""
    return tuple(part if other == axis else slice(None) for other in range(ndim))
