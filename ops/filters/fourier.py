"""Filters in Fourier space, with edges that do not ring."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype, transforms
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import spacing

type Kind = Literal["low", "high", "band", "notch"]

NARROWEST = 1e-9
"""The two frequencies of a band differ by more than this part of the lower one."""

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
        Same dimensions, coordinates, name, attributes and unit; float32 (within 3e-6 of the
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
    wavelengths: tuple[tuple[Kind, float | None], ...] = (
        ("low", min_wavelength),
        ("high", max_wavelength),
    )
    kwargs: dict[str, Any] = {
        "steps": (1.0,) * len(dims),
        "passes": [(kind, (1 / length,)) for kind, length in wavelengths if length is not None],
        "order": order if edge == "butterworth" else None,
    }
    return apply(filtered, frames, dims, dtype=real_dtype(frames.dtype), kwargs=kwargs)


def fourier_filter(
    frames: xr.DataArray,
    *,
    kind: Kind,
    cutoff: float | tuple[float, float],
    edge: Literal["gaussian", "butterworth"] = "butterworth",
    order: int = 2,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Keep the frequencies below, above, between or outside those of `cutoff`, in any direction.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    kind
        ``"low"`` keeps what is below `cutoff`; ``"high"`` what is above, and takes the mean out;
        ``"band"`` what is between two, and takes the mean out; ``"notch"`` what is outside them.
    cutoff
        A frequency, or two, the lower one first; above 0 and at most the highest that the frames
        hold. In cycles per pixel, or per unit of the coordinate that `frames` has along `dims`
        (per second for times).
    edge
        How the gain falls; with ``u = f / c`` for one frequency c, and
        ``u = (f² - a b) / (f (b - a))`` for two, a and b. ``"butterworth"``:
        ``1 / sqrt(1 + u ** (2 * order))``, half the power at `cutoff`; ``"gaussian"``:
        ``2 ** -u²``, half the amplitude. That is the gain of ``"low"`` and ``"band"``. For
        ``"high"`` and ``"notch"`` it is that with ``1 / u``, or one less that for ``"gaussian"``.
    order
        Of the Butterworth edge: the higher, the steeper, and the more it rings.
    dims
        The dimensions to filter along: ``("t",)`` for each pixel's history. With coordinates in
        the same unit where they are several.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 3e-6 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a coordinate has irregular steps, or a
        parameter is out of range.

    Notes
    -----
    A band or notch lets the geometric mean of its two frequencies pass wholly or not at all,
    however narrow it is. `fourier_bandpass` puts an edge for short waves and one for long ones
    one behind the other, which weakens the middle of a narrow band.

    The phase stays as it is. The frame is taken as periodic, and a NaN makes the whole frame NaN,
    as in `fourier_bandpass`. As scratch a task needs some six times its chunk in float32. Dask
    chunks that cut through `dims` are merged, lazily.

    The edges: Gonzalez and Woods, Digital Image Processing, sections 4.8 to 4.10; the step from a
    low-pass to a band: Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = 0.01 * np.arange(200)
    >>> hum, beat = np.sin(2 * np.pi * 20 * t), np.sin(2 * np.pi * 3 * t)
    >>> history = xr.DataArray(hum + beat, dims="t", coords={"t": t})
    >>> still = fourier_filter(history, kind="notch", cutoff=(18, 22.3), order=4, dims=["t"])
    >>> np.allclose(still, beat, atol=0.01)
    True
    """
    check_frames(frames, dims)
    check_choice("kind", kind, ("low", "high", "band", "notch"))
    check_choice("edge", edge, ("gaussian", "butterworth"))
    check_whole("order", order, least=1)
    steps = common_steps(frames, dims)
    kwargs: dict[str, Any] = {
        "steps": steps,
        "passes": [(kind, check_cutoff(cutoff, kind, 0.5 / min(steps)))],
        "order": order if edge == "butterworth" else None,
    }
    return apply(filtered, frames, dims, dtype=real_dtype(frames.dtype), kwargs=kwargs)


def common_steps(frames: xr.DataArray, dims: Sequence[Hashable]) -> tuple[float, ...]:
    """Return the step of `frames` along each of `dims`, which must be in one unit."""
    if not dims:
        raise OperationError("dims is empty, but must name what to filter along")
    steps, units = zip(*(spacing(frames, dim) for dim in dims), strict=True)
    if len(set(units)) > 1:
        raise OperationError(
            f"frequencies are in {', '.join(map(str, units))} along {tuple(dims)}, but must be in "
            "one unit; give all of these dimensions coordinates in it, or filter one at a time"
        )
    return tuple(steps)


def check_cutoff(
    cutoff: float | tuple[float, float], kind: Kind, highest: float
) -> tuple[float, ...]:
    """Return one frequency or two, ascending, that frames up to `highest` hold."""
    count = 2 if kind in ("band", "notch") else 1
    given = tuple(cutoff) if isinstance(cutoff, tuple | list) else (cutoff,)
    if len(given) != count:
        raise OperationError(
            f"cutoff is {cutoff!r}, but kind={kind!r} needs {('one frequency', 'two')[count - 1]}"
        )
    limit = 0.0
    for each in given:
        limit = check_number("cutoff", each, above=limit * (1 + NARROWEST), most=highest)
    return tuple(map(float, given))


def filtered(
    array: Array,
    *,
    steps: Sequence[float],
    passes: Sequence[tuple[Kind, tuple[float, ...]]],
    order: int | None,
) -> Array:
    """Weaken waves along the last axes, as many as `steps`, by each of `passes`.

    A pass is a kind with its frequencies; `order` None takes Gaussian edges. The gain is made in
    float64.
    """
    xp, ndim = namespace(array), len(steps)
    real = as_real(array)
    axes, sizes = tuple(range(-ndim, 0)), real.shape[-ndim:]
    squared = squared_frequency(real, steps)
    gain = xp.ones_like(squared)
    for kind, frequencies in passes:
        ratio = squared_ratio(squared, frequencies)
        falls = kind in ("low", "band")
        gain = gain * (low_pass(ratio, order) if falls else high_pass(ratio, order))
    spectrum = transforms(real).rfftn(real, axes=axes) * xp.astype(gain, real.dtype)
    return transforms(real).irfftn(spectrum, s=sizes, axes=axes)


def squared_ratio(squared: Array, frequencies: tuple[float, ...]) -> Array:
    """Return u²: where f² is `squared`, how far it is from one frequency, or from a band of two.

    It is one at each of `frequencies`, and zero at zero frequency or in the middle of the band.
    """
    if len(frequencies) == 1:
        return squared / frequencies[0] ** 2
    xp, (first, second) = namespace(squared), frequencies
    positive = xp.where(squared > 0, squared, xp.ones_like(squared))
    ratio = (positive - first * second) ** 2 / (positive * (second - first) ** 2)
    return xp.where(squared > 0, ratio, xp.ones_like(ratio) * LONGEST**2)


def squared_frequency(array: Array, steps: Sequence[float]) -> Array:
    """Return f² at each point of the real transform of `array` over its last axes.

    Float64, with f in cycles per unit of `steps`, one for each axis.
    """
    xp, where, ndim = namespace(array), device(array), len(steps)
    total = xp.zeros((1,) * ndim, dtype=xp.float64, device=where)
    for axis, size in enumerate(array.shape[-ndim:]):
        frequencies = xp.fft.rfftfreq if axis == ndim - 1 else xp.fft.fftfreq
        along = xp.astype(frequencies(size, device=where), xp.float64, copy=False) / steps[axis]
        shape = tuple(-1 if other == axis else 1 for other in range(ndim))
        total = total + xp.reshape(along**2, shape)
    return total


def low_pass(squared: Array, order: int | None) -> Array:
    """Return the gain that falls with `squared`, which is u²."""
    return (
        2.0**-squared if order is None else 1 / namespace(squared).sqrt(1 + steep(squared, order))
    )


def high_pass(squared: Array, order: int | None) -> Array:
    """Return the gain that rises with `squared`, which is u², from zero."""
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
