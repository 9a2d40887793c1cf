"""How far one frame lies beside another, to parts of a pixel."""

import math
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype, transforms
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops.correction.alignment import aligned
from forebay.ops.errors import OperationError
from forebay.ops.spectra.power import scaled, without_trend
from forebay.ops.spectra.windows import faded

AXIS = "axis"
"""The dimension of a displacement: one value for each dimension of the frames that it is along."""

MOST_UPSAMPLING = 1000

REACH = 0.75
"""How far about the highest pixel the peak is looked for, in pixels."""


def phase_correlation(
    frames: xr.DataArray,
    reference: xr.DataArray,
    *,
    upsampling: int = 20,
    normalise: bool = True,
    window: Literal["hann"] | None = "hann",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return how far what `frames` show lies from where it lies in `reference`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    reference
        With `dims`, and others of `frames` if each is to have its own; on the same side (host or
        device) as `frames`.
    upsampling
        The displacement is found to one by this, in pixels; 1 to 1000.
    normalise
        Whether all waves count the same, which makes the peak sharp and uneven light harmless.
        Otherwise each counts by its strength, which is better for noisy frames of few details.
    window
        ``"hann"`` fades the frames out towards their edges, which would otherwise tell that
        nothing has moved; None does not, which is right for what is periodic.
    dims
        The dimensions to look along.

    Returns
    -------
    xarray.DataArray
        With ``axis`` in the place of `dims`, last, whose coordinate names them; in pixels,
        positive where `frames` show something at a larger index than `reference` does. Float32, or
        float64 for float64 frames, in steps of ``1 / upsampling``. NaN for a frame without
        contrast, or with a NaN.

    Raises
    ------
    OperationError
        If a dimension is missing, the two do not fit each other, a dtype is not real, or a
        parameter is out of range.

    Notes
    -----
    The highest value of the inverse transform of ``F R* / |F R*|`` (or of ``F R*``), with the
    transforms F and R of the frame and the reference less their means: Kuglin and Hines, Proc.
    IEEE Conf. Cybernetics and Society, 163 (1975). About the highest pixel it is computed on a
    finer grid by the matrix-multiply transform of Guizar-Sicairos, Thurman and Fienup, Opt. Lett.
    33, 156 (2008). Waves below 64 roundings of the strongest one do not count.

    Displacements of more than half a frame cannot be told from ones the other way, and with a
    window less than that is left in both: a third of a frame is about the most.

    Dask chunks that cut through `dims` are merged, lazily. As scratch a task needs some ten times
    its chunk in float32.

    Float32 is within 1e-6 of the largest value where the same point is highest.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:64, :64]
    >>> def spot(at_y, at_x):
    ...     return xr.DataArray(np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / 8), dims=("y", "x"))
    >>> phase_correlation(spot(30.25, 34), spot(32, 32), normalise=False, window=None).values
    array([-1.75,  2.  ])
    """
    check_frames(frames, dims)
    check_search(frames, dims, upsampling=upsampling, normalise=normalise, window=window)
    check_frames(reference, dims, name="reference")
    frames, reference = aligned(frames, reference, "reference")
    result = apply(
        displacements,
        frames,
        dims,
        dtype=real_dtype(frames.dtype),
        new_sizes={AXIS: len(dims)},
        beside=[(reference, dims)],
        kwargs={
            "ndim": len(dims),
            "upsampling": upsampling,
            "normalise": normalise,
            "window": window,
        },
    )
    return as_displacement(result, dims)


def check_search(
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    *,
    upsampling: int,
    normalise: bool,
    window: str | None,
) -> None:
    """Raise `OperationError` unless a displacement of `frames` can be looked for like this."""
    if not dims:
        raise OperationError("dims is empty, but must name what to look along")
    if AXIS in frames.dims:
        raise OperationError(
            f"frames has a dimension {AXIS!r}, which is one of the result; rename it"
        )
    check_whole("upsampling", upsampling, least=1)
    check_number("upsampling", upsampling, most=MOST_UPSAMPLING)
    check_choice("normalise", normalise, (True, False))
    check_choice("window", window, ("hann", None))


def as_displacement(values: xr.DataArray, dims: Sequence[Hashable]) -> xr.DataArray:
    """Return `values`, whose last dimension is that of a displacement, with what describes one."""
    named = values.assign_coords({AXIS: [str(dim) for dim in dims]})
    return named.assign_attrs(units="pixels")


def displacements(
    array: Array,
    reference: Array,
    *,
    ndim: int,
    upsampling: int,
    normalise: bool,
    window: str | None,
) -> Array:
    """Return how far the frames in the last `ndim` axes lie from `reference`, along each."""
    sizes = array.shape[-ndim:]
    real = as_real(array)
    waves, others = (waves_of(each, ndim, window) for each in (real, as_real(reference)))
    return peak(waves, others, sizes, upsampling=upsampling, normalise=normalise, like=real)


def waves_of(array: Array, ndim: int, window: str | None) -> Array:
    """Return the real transform over the last `ndim` axes, without the mean."""
    axes = tuple(range(-ndim, 0))
    contrast = without_trend(array, axes, linear=False)
    if window is not None:
        contrast = without_trend(faded(contrast, ndim=ndim, window=window), axes, linear=False)
    return transforms(contrast).rfftn(contrast, axes=axes)


def peak(
    waves: Array,
    others: Array,
    sizes: Sequence[int],
    *,
    upsampling: int,
    normalise: bool,
    like: Array,
) -> Array:
    """Return where the correlation of two transforms is highest, in the dtype of `like`.

    The leading axes are those of `waves` and `others`, broadcast.
    """
    xp, ndim = namespace(waves), len(sizes)
    axes = tuple(range(-ndim, 0))
    cross = scaled(waves, axes) * xp.conj(scaled(others, axes))
    if normalise:
        strength = xp.abs(cross)
        least = (64 * xp.finfo(like.dtype).eps) ** 2 * xp.max(strength, axis=axes, keepdims=True)
        # Where there is a NaN nothing counts, which leaves no peak.
        counts = strength > least
        cross = xp.where(counts, cross, xp.zeros_like(cross))
        cross = cross / xp.where(counts, strength, xp.ones_like(strength))
    leading = cross.shape[:-ndim]
    cross = xp.reshape(cross, (-1, *cross.shape[-ndim:]))
    coarse = xp.reshape(transforms(cross).irfftn(cross, s=sizes, axes=axes), (cross.shape[0], -1))
    highest = xp.max(coarse, axis=-1)
    places = [
        xp.astype((place + size // 2) % size - size // 2, xp.float64)
        for place, size in zip(unravelled(xp.argmax(coarse, axis=-1), sizes), sizes, strict=True)
    ]
    if upsampling > 1:
        places = finer(cross, places, sizes, upsampling)
    result = xp.stack(places, axis=-1)
    nan = xp.asarray(xp.nan, dtype=xp.float64, device=device(result))
    result = xp.where((highest > 0)[:, None], result, nan)
    return xp.astype(xp.reshape(result, (*leading, ndim)), like.dtype)


def unravelled(index: Array, sizes: Sequence[int]) -> list[Array]:
    """Return the indices along each axis of a flat `index`."""
    places = []
    for size in reversed(sizes):
        places.append(index % size)
        index = index // size
    return places[::-1]


def finer(
    cross: Array, places: Sequence[Array], sizes: Sequence[int], upsampling: int
) -> list[Array]:
    """Return where the correlation is highest on a grid `upsampling` times finer about `places`.

    The transform is a product of matrices, one axis after the other. Of the last axis half the
    waves are there; the others are their conjugates, and count by counting these twice.
    """
    xp, where = namespace(cross), device(cross)
    reach = math.ceil(REACH * upsampling)
    steps = xp.arange(-reach, reach + 1, dtype=xp.float64, device=where) / upsampling
    half = np.full(cross.shape[-1], 2.0)
    half[0] = 1
    if sizes[-1] % 2 == 0:
        half[-1] = 1
    values = cross * xp.asarray(half, dtype=as_real_dtype(cross), device=where)
    count = cross.shape[0]
    for axis in range(len(sizes) - 1, -1, -1):
        last = axis == len(sizes) - 1
        frequency = (np.fft.rfftfreq if last else np.fft.fftfreq)(sizes[axis])
        grid = places[axis][:, None] + steps[None, :]
        phase = 2 * math.pi * xp.asarray(frequency, device=where)[None, :, None] * grid[:, None, :]
        kernel = xp.astype(xp.cos(phase), values.dtype) + 1j * xp.astype(
            xp.sin(phase), values.dtype
        )
        rest = values.shape[1:-1]
        product = xp.reshape(values, (count, -1, values.shape[-1])) @ kernel
        product = xp.reshape(product, (count, *rest, steps.shape[0]))
        order = (0, len(rest) + 1, *range(1, len(rest) + 1))
        values = xp.permute_dims(product, order)
    fine = xp.reshape(xp.real(values), (count, -1))
    found = unravelled(xp.argmax(fine, axis=-1), [steps.shape[0]] * len(sizes))
    return [
        place + xp.take(steps, index, axis=0) for place, index in zip(places, found, strict=True)
    ]


def as_real_dtype(array: Array) -> Any:
    """Return the dtype of the parts of a complex `array`."""
    return namespace(array).real(array[..., :0]).dtype
