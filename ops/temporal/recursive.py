"""Filters in time whose every result depends on all frames before."""

from collections.abc import Hashable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply, replaced
from forebay.ops._checks import check_choice, check_frames, check_number
from forebay.ops.correction.alignment import aligned
from forebay.ops.errors import OperationError
from forebay.ops.temporal.sections import check_sections, through_sections, through_sections_on

DELAY = "delay"
"""The dimension of the numbers that a filter remembers of each pixel."""

BOTH = "filtered, then delay"
"""The dimension of a pixel's filtered history with what the filter remembers behind it."""


def exponential_filter(
    frames: xr.DataArray,
    *,
    alpha: float,
    initial: xr.DataArray | None = None,
    dim: Hashable = "t",
) -> xr.DataArray:
    """Return ``s[n] = s[n - 1] + alpha * (frames[n] - s[n - 1])``: a mean that forgets.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    alpha
        How much of each new frame is taken, above 0 and at most 1. A frame counts for
        ``1 - exp(-1)`` of what it did after tau frames with ``alpha = 1 - exp(-1 / tau)``.
    initial
        The result before the first frame, without `dim`; on the same side (host or device) as
        `frames`. None starts with the first frame.
    dim
        The dimension to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames. Rounded after each frame, by which float32 is off by up to ``6e-8 / alpha`` of the
        largest value.

    Raises
    ------
    OperationError
        If `dim` is missing, the dtype is not real, `alpha` is out of range, or `initial` does not
        fit the frames.

    Notes
    -----
    The last frame of the result is all that the filter knows: given as `initial` with the frames
    that follow, it goes on as if there had been no break, bit for bit.

    From a NaN on, its pixel is NaN.

    Dask chunks that cut through `dim` are merged, lazily, into columns of pixels, each no larger
    than the largest chunk before, or than one pixel's history. That passes all frames through the
    workers' memory once, or through their disks when they spill. To stay within a chunk at a
    time, call it chunk after chunk with `initial`. A task needs about twice its chunk in float32
    as scratch.

    Brown, Statistical Forecasting for Inventory Control (1959).

    Float32 is within 1e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([0.0, 8, 8, 8])[:, None, None], dims=("t", "y", "x"))
    >>> first = exponential_filter(frames[:2], alpha=0.5)
    >>> then = exponential_filter(frames[2:], alpha=0.5, initial=first[-1])
    >>> first.values.ravel().tolist(), then.values.ravel().tolist()
    ([0.0, 4.0], [6.0, 7.0])
    """
    check_frames(frames, [dim])
    alpha = check_number("alpha", alpha, above=0, most=1)
    dtype = real_dtype(frames.dtype)
    if initial is None:
        return apply(forgetting_mean, frames, [dim], dtype=dtype, kwargs={"alpha": alpha})
    _, start = aligned(frames, initial, "initial")
    if dim in start.dims:
        raise OperationError(f"initial has the dimension {dim!r}, but must be one frame; select it")
    start = start.astype(dtype)
    return apply(
        forgetting_mean,
        frames,
        [dim],
        dtype=dtype,
        beside=[(start, [])],
        kwargs={"alpha": alpha},
    )


def forgetting_mean(array: Array, initial: Array | None = None, *, alpha: float) -> Array:
    """Return the exponential mean along the last axis, after `initial` or from the first value."""
    xp = namespace(array)
    state = as_real(array[..., 0]) if initial is None else initial
    results = []
    for index in range(array.shape[-1]):
        state = state + alpha * (as_real(array[..., index]) - state)
        results.append(state)
    return xp.stack(results, axis=-1)


def iir_filter(
    frames: xr.DataArray,
    *,
    sos: npt.ArrayLike,
    before: Literal["first", "zero"] = "first",
    dim: Hashable = "t",
) -> xr.DataArray:
    """Return each pixel's history through a recursive filter of second-order sections.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    sos : (n, 6)
        The sections, as ``scipy.signal.butter(..., output="sos")`` makes them. Stable.
    before
        What was before the first frame: the ``"first"`` frame for ever, so that a low-pass
        begins at it and a high-pass at zero, or ``"zero"``.
    dim
        The dimension to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (of what is computed in
        float64), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If `dim` is missing, the dtype is not real, or `sos` are no stable sections.

    Notes
    -----
    It is `scipy.signal.sosfilt` along `dim`, looking back only; work is done in float64. From a NaN
    on, its pixel is NaN.

    Dask chunks that cut through `dim` are merged, lazily, into columns of pixels, each no larger
    than the largest chunk before, or than one pixel's history. That passes all frames through the
    workers' memory once, or through their disks when they spill. To stay within a chunk at a time,
    use `continue_iir_filter`. A task needs about its chunk in float32 as scratch, and five times that
    for fewer than a thousand pixels, which are filtered one after the other.

    Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition, section 6.3.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, scipy.signal, xarray as xr
    >>> low_pass = scipy.signal.butter(4, 0.1, output="sos")
    >>> frames = xr.DataArray(np.full((20, 2, 2), 7, "uint8"), dims=("t", "y", "x"))
    >>> bool(abs(iir_filter(frames, sos=low_pass) - 7).max() < 1e-5)
    True
    """
    check_frames(frames, [dim])
    check_choice("before", before, ("first", "zero"))
    kwargs: dict[str, Any] = {"sos": check_sections(sos), "from_first": before == "first"}
    return apply(through_sections, frames, [dim], dtype=real_dtype(frames.dtype), kwargs=kwargs)


class Continued(NamedTuple):
    """Filtered frames, and what is needed to go on."""

    frames: xr.DataArray
    """The frames through the filter."""
    state: xr.DataArray
    """What the next call needs: two numbers a section and pixel, along ``delay``, float64."""


def continue_iir_filter(
    frames: xr.DataArray,
    *,
    sos: npt.ArrayLike,
    state: xr.DataArray | None = None,
    before: Literal["first", "zero"] = "first",
    dim: Hashable = "t",
) -> Continued:
    """Return what `iir_filter` gives for frames that follow others.

    Parameters
    ----------
    frames
        As `iir_filter` has it: the next ones along `dim`.
    sos : (n, 6)
        The sections, the same in each call.
    state
        What the call for the frames before gave; None begins. On the same side (host or device) as
        `frames`.
    before
        What was before the first frame of all, as in `iir_filter`.
    dim
        The dimension to filter along.

    Returns
    -------
    Continued
        ``frames``: as of `iir_filter`, but for the last bits: of float64 frames within 1e-12 of the
        largest value. Frames given block by block, in order, with the state of each call passed to
        the next, give what all in one call do, bit for bit, wherever they are cut. ``state``: the
        other dimensions of `frames`, then ``delay``.

    Raises
    ------
    OperationError
        As `iir_filter`, or if `state` does not fit `frames` and `sos`.

    Notes
    -----
    Such a filter over a whole run is a sequential algorithm, whose state the engine carries from
    block to block: memory holds a block at a time. From a NaN on, its pixel is NaN, in what
    follows too; a NaN in a frame says nothing of the frames before it.

    Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition, section 6.3.

    Works chunk by chunk with Dask, but for chunks that cut through `dim`, which are merged.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, scipy.signal, xarray as xr
    >>> low_pass = scipy.signal.butter(2, 0.1, output="sos")
    >>> frames = xr.DataArray(np.random.default_rng(1).normal(size=(20, 2, 2)), dims=("t", "y", "x"))
    >>> first, state = continue_iir_filter(frames[:12], sos=low_pass)
    >>> then, state = continue_iir_filter(frames[12:], sos=low_pass, state=state)
    >>> all_at_once, _ = continue_iir_filter(frames, sos=low_pass)
    >>> xr.concat([first, then], "t").equals(all_at_once)
    True
    """
    check_frames(frames, [dim])
    check_choice("before", before, ("first", "zero"))
    sections = check_sections(sos)
    if DELAY in frames.dims:
        raise OperationError(f"frames has a dimension {DELAY!r}, which is the state's; rename it")
    delays = 2 * len(sections)
    beside: list[tuple[xr.DataArray, list[Hashable]]] = []
    if state is not None:
        dims = [each for each in frames.dims if each != dim]
        sizes = {each: frames.sizes[each] for each in dims} | {DELAY: delays}
        if not isinstance(state, xr.DataArray):
            raise OperationError(
                f"state is a {type(state).__name__}, but must be an xarray.DataArray; give what the "
                "call for the frames before returned"
            )
        if dict(state.sizes) != sizes:
            raise OperationError(
                f"state has the sizes {dict(state.sizes)}, but must have the sizes {sizes}; give what the call for the "
                "frames before returned"
            )
        aligned(frames, state.isel({DELAY: 0}), "state")
        beside = [(state.transpose(*dims, DELAY), [DELAY])]
    both = apply(
        through_sections_on,
        frames,
        [dim],
        dtype=np.dtype(np.float64),
        new_sizes={BOTH: frames.sizes[dim] + delays},
        beside=beside,
        kwargs={"sos": sections, "from_first": before == "first"},
    )
    filtered = both.isel({BOTH: slice(0, frames.sizes[dim])}).rename({BOTH: dim})
    left = both.isel({BOTH: slice(frames.sizes[dim], None)}).rename({BOTH: DELAY})
    return Continued(
        replaced(frames, filtered.transpose(*frames.dims).data.astype(real_dtype(frames.dtype))),
        left.drop_attrs().rename(None),
    )
