"""Band-passing in Fourier space, with edges that do not ring."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops.errors import OperationError

LONGEST = 1e12
"""No wave longer than this, in pixels, can be asked for; its square fits float64 with ease."""


def fourier_bandpass(
    frames: xr.DataArray,
    *,
    min_wavelength: float | None = None,
    max_wavelength: float | None = None,
    edge: Literal["gaussian", "butterworth"] = "gaussian",
    order: int = 2,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Keep what varies over `min_wavelength` to `max_wavelength` pixels, in any direction.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    min_wavelength
        Shorter waves are weakened, in pixels, at least 2; None keeps them.
    max_wavelength
        Longer waves are weakened, in pixels, above `min_wavelength`, and the mean is taken out;
        None keeps them.
    edge
        How the gain falls with the spatial frequency ``f = 1 / wavelength``, where ``c`` is that
        of the wavelength given. ``"gaussian"``: ``2 ** -(f / c) ** 2`` on the short side, one
        less that on the long side; half the amplitude at ``c``. ``"butterworth"``:
        ``1 / sqrt(1 + (f / c) ** (2 * order))``, with ``c / f`` on the long side; half the power
        at ``c``.
    order
        Of the Butterworth edge: the higher, the steeper, and the more it rings.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-5 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or a parameter is out of range.

    Notes
    -----
    The frame is taken as periodic: what is at its left edge counts as the neighbour of what is at
    its right. Where the two differ much, subtract the background first, or do not trust a rim of
    about `max_wavelength`. A NaN makes the whole frame NaN.

    Dask chunks that cut through `dims` are merged, lazily, so that a task holds whole frames: one
    at least, and otherwise no more bytes than the largest chunk did.

    The edges: Gonzalez and Woods, Digital Image Processing, sections 4.8 and 4.9.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> wave = np.sin(2 * np.pi * np.arange(64) / 8)
    >>> frames = xr.DataArray(5 + np.tile(wave, (1, 64, 1)), dims=("t", "y", "x"))
    >>> kept = fourier_bandpass(frames, min_wavelength=2, max_wavelength=64)
    >>> np.allclose(kept[0, 0], 0.958 * wave, atol=1e-3)
    True
    """
    check_frames(frames, dims)
    check_choice("edge", edge, ("gaussian", "butterworth"))
    if min_wavelength is None and max_wavelength is None:
        raise OperationError("nothing to do: give min_wavelength, max_wavelength or both")
    shortest = 2.0
    if min_wavelength is not None:
        shortest = check_number("min_wavelength", min_wavelength, least=2)
    if max_wavelength is not None:
        check_number("max_wavelength", max_wavelength, above=shortest, most=LONGEST)
    check_whole("order", order, least=1)
    kwargs: dict[str, Any] = {
        "ndim": len(dims),
        "min_wavelength": min_wavelength,
        "max_wavelength": max_wavelength,
        "order": order if edge == "butterworth" else None,
    }
    dtype = real_dtype(frames.dtype)
    return apply(fourier_filter, frames, dims, dtype=dtype, kwargs=kwargs)


def fourier_filter(
    array: Array,
    *,
    ndim: int,
    min_wavelength: float | None,
    max_wavelength: float | None,
    order: int | None,
) -> Array:
    """Weaken shorter and longer waves than those given along the last `ndim` axes.

    `order` None takes Gaussian edges. The gain is made in float64.
    """
    xp = namespace(array)
    real = as_real(array)
    axes, sizes = tuple(range(-ndim, 0)), real.shape[-ndim:]
    squared = squared_frequency(real, ndim)
    gain = xp.ones_like(squared)
    if min_wavelength is not None:
        gain = gain * low_pass(squared * min_wavelength**2, order)
    if max_wavelength is not None:
        gain = gain * high_pass(squared * max_wavelength**2, order)
    spectrum = xp.fft.rfftn(real, axes=axes) * xp.astype(gain, real.dtype)
    return xp.fft.irfftn(spectrum, s=sizes, axes=axes)


def squared_frequency(array: Array, ndim: int) -> Array:
    """Return f² at each point of the real transform of `array` over its last `ndim` axes.

    Float64, with f in cycles per pixel.
    """
    xp, where = namespace(array), device(array)
    total = xp.zeros((1,) * ndim, dtype=xp.float64, device=where)
    for axis, size in enumerate(array.shape[-ndim:]):
        frequencies = xp.fft.rfftfreq if axis == ndim - 1 else xp.fft.fftfreq
        along = xp.astype(frequencies(size, device=where), xp.float64, copy=False)
        shape = tuple(-1 if other == axis else 1 for other in range(ndim))
        total = total + xp.reshape(along**2, shape)
    return total


def low_pass(squared: Array, order: int | None) -> Array:
    """Return the gain that falls with `squared`, which is (f / c)²."""
    return (
        2.0**-squared if order is None else 1 / namespace(squared).sqrt(1 + steep(squared, order))
    )


def high_pass(squared: Array, order: int | None) -> Array:
    """Return the gain that rises with `squared`, which is (f / c)², from zero."""
    xp = namespace(squared)
    if order is None:
        return 1 - 2.0**-squared
    gain = 1 / xp.sqrt(1 + 1 / steep(squared, order))
    return xp.where(squared > 0, gain, xp.zeros_like(gain))


def steep(squared: Array, order: int) -> Array:
    """Return ``squared ** order``, held between e^-600 and e^600, so that nothing overflows."""
    xp = namespace(squared)
    positive = xp.where(squared > 0, squared, xp.ones_like(squared) * LONGEST**-2)
    return xp.exp(xp.clip(order * xp.log(positive), -600.0, 600.0))
