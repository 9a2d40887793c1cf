"""The power spectral density of frames, in space or in time."""

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import xarray as xr

from forebay.ops._arrays import Array, as_real, namespace, real_dtype, transforms
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import PREFIX, frequencies, spacing
from forebay.ops.spectra.radial import radial_average
from forebay.ops.spectra.windows import along, faded, like, window_weights


def power_spectrum(
    frames: xr.DataArray,
    *,
    dims: Sequence[Hashable] = ("y", "x"),
    window: Literal["hann"] | None = "hann",
    detrend: Literal["mean", "linear"] | None = "mean",
    radial: bool = False,
) -> xr.DataArray:
    """Return the power spectral density of each frame along `dims`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    dims
        What to transform over: ``("y", "x")`` for waves in space, ``("t",)`` for each pixel's
        fluctuations in time.
    window
        ``"hann"`` fades the frames out towards their edges, whose jump would otherwise leak into
        all frequencies; None does not.
    detrend
        What to take out first: the ``"mean"``, a ``"linear"`` slope along each of `dims` and the
        mean, or nothing.
    radial
        Whether to average over directions, as `radial_average` does; for two `dims`.

    Returns
    -------
    xarray.DataArray
        With ``freq_y`` in the place of ``y`` and so on, last; float32, or float64 for float64
        frames. Frequencies are in cycles per pixel, or per unit of the coordinate that `frames`
        has along a dimension (per second for times); negative ones are there and come first, zero
        is at ``size // 2`` (`numpy.fft.fftshift`).

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a coordinate has irregular steps, or a
        parameter is not allowed.

    Notes
    -----
    With the detrended frame x, the window w and the step d along each of the `dims` (n points in
    all), the density is ``|FFT(w x)|² · Π d / Σ w²``, in squared units of `frames` per unit of
    frequency in each direction. Its sum times the steps in frequency, ``1 / (Π d · n)``, is the
    mean square of the frame as the window weighs it, ``Σ (w x)² / Σ w²``: Parseval's theorem. It
    is two-sided; for one dimension it is what `scipy.signal.periodogram` gives with
    ``return_onesided=False``. The window is the periodic one. Float32 is within 2e-6 of the largest value.

    A NaN makes the whole frame NaN.

    Of a task, memory holds some fifteen times its chunk in float32: NumPy's transform works in
    double precision within. Dask chunks that cut through `dims` are merged, lazily.
    ``power_spectrum(frames).mean("t")`` works chunk by chunk.

    The formula: Press et al., Numerical Recipes, 3rd edition, section 13.4.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> wave = 3 * np.sin(2 * np.pi * np.arange(64) / 8)
    >>> frames = xr.DataArray(np.tile(wave, (2, 64, 1)), dims=("t", "y", "x"))
    >>> spectrum = power_spectrum(frames)
    >>> peak = spectrum[0].argmax(...)
    >>> abs(float(spectrum.freq_x[peak["freq_x"]])), float(spectrum.freq_y[peak["freq_y"]])
    (0.125, 0.0)
    """
    check_frames(frames, dims)
    if not dims:
        raise OperationError("dims is empty, but must name what to transform over")
    check_choice("window", window, ("hann", None))
    check_choice("detrend", detrend, ("mean", "linear", None))
    check_choice("radial", radial, (True, False))
    if window == "hann":
        check_kernel(frames, dims, 2, "window='hann'", remedy="use window=None")
    steps = {dim: spacing(frames, dim) for dim in dims}
    scale = float(np.prod([step for step, _ in steps.values()]))
    spectrum = apply(
        power_density,
        frames,
        dims,
        dtype=real_dtype(frames.dtype),
        new_sizes={f"{PREFIX}{dim}": frames.sizes[dim] for dim in dims},
        kwargs={"ndim": len(dims), "hann": window == "hann", "detrend": detrend, "scale": scale},
    )
    coords = {
        f"{PREFIX}{dim}": (
            f"{PREFIX}{dim}",
            frequencies(frames.sizes[dim], step),
            {"units": unit},
        )
        for dim, (step, unit) in steps.items()
    }
    spectrum = spectrum.assign_coords(coords)
    return radial_average(spectrum, dims=tuple(coords)) if radial else spectrum


def power_density(
    array: Array, *, ndim: int, hann: bool, detrend: str | None, scale: float
) -> Array:
    """Return `scale` · |FFT(w x)|² / Σ w² over the last `ndim` axes, zero frequency in the middle."""
    xp = namespace(array)
    axes = tuple(range(-ndim, 0))
    real = as_real(array)
    if detrend is not None:
        real = without_trend(real, axes, linear=detrend == "linear")
    total = float(np.prod(real.shape[-ndim:]))
    if hann:
        for axis in axes:
            total *= float((window_weights("hann", real.shape[axis]) ** 2).mean())
        real = faded(real, ndim=ndim, window="hann")
    waves = transforms(real).rfftn(real, axes=axes)
    density = (xp.real(waves) ** 2 + xp.imag(waves) ** 2) * (scale / total)
    # What is real has at -f what it has at f, which need not be computed.
    behind = xp.flip(density[..., 1 : (real.shape[-1] + 1) // 2], axis=axes)
    behind = xp.roll(behind, (1,) * (ndim - 1), axis=axes[:-1]) if ndim > 1 else behind
    return xp.fft.fftshift(xp.concat([density, behind], axis=-1), axes=axes)


def without_trend(array: Array, axes: Sequence[int], *, linear: bool) -> Array:
    """Return `array` less its mean over `axes`, and less the best plane through it if `linear`.

    The mean is taken, and taken out, in float64: what is left of bright frames with little contrast
    would else be less than float32 can tell. Positions counted from the middle are at right angles to each
    other and to a constant, so that each slope is a projection of its own.
    """
    xp = namespace(array)
    wide = xp.astype(array, xp.float64, copy=False)
    result = xp.astype(wide - xp.mean(wide, axis=tuple(axes), keepdims=True), array.dtype)
    if not linear:
        return result
    flat = result
    for axis in axes:
        size = array.shape[axis]
        place = along(np.arange(size) - (size - 1) / 2, axis)
        norm = float((place**2).mean())
        if norm > 0:
            position = like(place, array)
            slope = xp.mean(flat * position, axis=tuple(axes), keepdims=True) / norm
            result = result - slope * position
    return result


def scaled(array: Array, axes: Sequence[int]) -> Array:
    """Return `array` as parts of its largest size over `axes`, so that no product overflows."""
    xp = namespace(array)
    largest = xp.max(xp.abs(array), axis=tuple(axes), keepdims=True)
    return array / xp.where(largest > 0, largest, xp.ones_like(largest))
