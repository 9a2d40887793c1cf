"""How strongly a signal fluctuates at each frequency, from overlapping segments of it."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops.correction.alignment import aligned
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import PREFIX, spacing
from forebay.ops.spectra.power import without_trend
from forebay.ops.spectra.windows import COSINES, Window, faded, like, window_weights

USUAL = 256
"""The length of a segment, where the frames are as long and nothing else is asked for."""


@dataclass(frozen=True)
class Cut:
    """How a signal is cut into segments, and what is made of each."""

    size: int
    """Of a segment."""
    step: int
    """From one segment to the next."""
    count: int
    """Of segments."""
    window: str | None
    detrend: str | None

    def waves(self, array: Array) -> Iterator[Array]:
        """Give the real transform of each segment along the last axis."""
        xp = namespace(array)
        for number in range(self.count):
            start = number * self.step
            part = array[..., start : start + self.size]
            if self.detrend is not None:
                part = without_trend(part, (-1,), linear=self.detrend == "linear")
            if self.window is not None:
                part = faded(part, ndim=1, window=self.window)
            yield xp.fft.rfft(part, axis=-1)

    def scale(self, step: float) -> npt.NDArray[np.float64]:
        """Return what makes the power of waves a one-sided density, for samples `step` apart."""
        weights = np.ones(self.size)
        if self.window is not None:
            weights = window_weights(self.window, self.size)
        twice = np.full(self.size // 2 + 1, 2.0)
        twice[0] = 1
        if self.size % 2 == 0:
            twice[-1] = 1
        scale: npt.NDArray[np.float64] = twice * step / (weights**2).sum()
        return scale


def welch_spectrum(
    frames: xr.DataArray,
    *,
    dim: str = "t",
    segment: int | None = None,
    overlap: float = 0.5,
    window: Window | None = "hann",
    detrend: Literal["mean", "linear"] | None = "mean",
) -> xr.DataArray:
    """Return the power spectral density along `dim`, the mean over overlapping segments.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask. Every
        pixel has its own spectrum; use ``frames.mean(("y", "x"))`` for that of the mean.
    dim
        The dimension to transform along.
    segment
        Samples in a segment, at least 2: the longer, the finer the frequencies and the noisier
        the density. None takes 256, or all where there are fewer.
    overlap
        By how much of itself a segment overlaps the next one, from 0 to 0.95.
    window
        What each segment is faded out by, as in `apply_window`; None does not.
    detrend
        What is taken out of each segment first: its ``"mean"``, its ``"linear"`` slope and mean,
        or nothing.

    Returns
    -------
    xarray.DataArray
        With ``freq_t`` (for ``t``) in the place of `dim`, last, from zero up; in squared units of
        `frames` per unit of frequency: one-sided, so that its sum times the step in frequency is
        the variance. Frequencies are in cycles per pixel, or per unit of the coordinate along
        `dim` (per second for times). Float32, or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, the coordinate has irregular steps, or a
        parameter is out of range.

    Notes
    -----
    Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967), as `scipy.signal.welch` does it. Samples
    after the last whole segment do not count. For two-sided spectra, and in two dimensions, see
    `power_spectrum`. A NaN makes its pixel's spectrum NaN.

    A pixel's whole history is one chunk: Dask chunks that cut through `dim` are merged, lazily,
    and cut along the other dimensions instead. As scratch a task needs some six times its chunk in
    float32.

    Float32 is within 1e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = 0.01 * np.arange(1000)
    >>> beat = xr.DataArray(np.sin(2 * np.pi * 12.5 * t), dims="t", coords={"t": t})
    >>> spectrum = welch_spectrum(beat, segment=200)
    >>> float(spectrum.idxmax("freq_t").round(6)), float(spectrum.integrate("freq_t").round(3))
    (12.5, 0.5)
    """
    cut, step, frequencies = _cut(frames, dim, segment, overlap, window, detrend)
    result = apply(
        mean_density,
        frames,
        [dim],
        dtype=real_dtype(frames.dtype),
        new_sizes={f"{PREFIX}{dim}": frequencies.size},
        kwargs={"cut": cut, "step": step},
    )
    return result.assign_coords({f"{PREFIX}{dim}": frequencies})


def coherence(
    frames: xr.DataArray,
    other: xr.DataArray,
    *,
    dim: str = "t",
    segment: int | None = None,
    overlap: float = 0.5,
    window: Window | None = "hann",
    detrend: Literal["mean", "linear"] | None = "mean",
) -> xr.DataArray:
    """Return which part of the fluctuations along `dim` goes with those of `other`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    other
        With `dim`, and others of `frames` if each is to have its own: the mean of the frames, a
        pixel, another channel. On the same side (host or device) as `frames`.
    dim
        The dimension to transform along.
    segment
        Samples in a segment, at least 2; None takes 256, or a quarter of all where there are
        fewer than 1024. There must be two segments at least: of a single one all is coherent.
    overlap
        As in `welch_spectrum`.
    window
        As in `welch_spectrum`.
    detrend
        As in `welch_spectrum`.

    Returns
    -------
    xarray.DataArray
        With ``freq_t`` (for ``t``) in the place of `dim`, last, from zero up; from 0 to 1. Float32,
        or float64 for float64 frames. Without a unit.

    Raises
    ------
    OperationError
        If a dimension is missing, the two do not fit each other, a dtype is not real, the
        coordinate has irregular steps, or a parameter is out of range.

    Notes
    -----
    ``|<X Y*>|² / (<|X|²> <|Y|²>)`` with the transforms X and Y of the segments and the mean over
    them: Carter, Knapp and Nuttall, IEEE Trans. Audio Electroacoust. 21, 337 (1973), as
    `scipy.signal.coherence` does it. Of K segments that do not overlap, noise has 1 / K. NaN where
    one of the two has no power (as at zero frequency, mostly) or a NaN.

    Memory and chunks as in `welch_spectrum`.

    Float32 is within 5e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> noise = xr.DataArray(np.random.default_rng(1).normal(size=(2, 4096)), dims=("x", "t"))
    >>> common = coherence(noise[0] + noise, noise[0]).mean("freq_t")
    >>> common.round(1).values.tolist()
    [1.0, 0.5]
    """
    check_frames(frames, [dim])
    if segment is None:
        segment = min(USUAL, max(frames.sizes[dim] // 4, 2))
    cut, _, frequencies = _cut(frames, dim, segment, overlap, window, detrend)
    if cut.count < 2:
        raise OperationError(
            f"segment is {segment}, of which {frames.sizes[dim]} samples along {dim!r} hold one, but "
            "two are needed at least; use shorter ones"
        )
    check_frames(other, [dim], name="other")
    frames, other = aligned(frames, other, "other")
    result = apply(
        mean_coherence,
        frames,
        [dim],
        dtype=np.result_type(frames.dtype, other.dtype),
        new_sizes={f"{PREFIX}{dim}": frequencies.size},
        beside=[(other, [dim])],
        kwargs={"cut": cut},
    )
    result.attrs.pop("units", None)
    return result.assign_coords({f"{PREFIX}{dim}": frequencies})


def spectrogram(
    frames: xr.DataArray,
    *,
    dim: str = "t",
    segment: int | None = None,
    overlap: float = 0.5,
    window: Window | None = "hann",
    detrend: Literal["mean", "linear"] | None = "mean",
) -> xr.DataArray:
    """Return the power spectral density of each segment along `dim`: how it changes.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    dim
        The dimension to transform along.
    segment
        As in `welch_spectrum`.
    overlap
        As in `welch_spectrum`.
    window
        As in `welch_spectrum`.
    detrend
        As in `welch_spectrum`.

    Returns
    -------
    xarray.DataArray
        With ``freq_t`` (for ``t``), from zero up, and `dim`, a value a segment, last; the
        coordinate along `dim` is that of the middle between a segment's first sample and its
        last. Densities, units and dtypes as in `welch_spectrum`, which is the mean of this over
        `dim`.

    Raises
    ------
    OperationError
        As `welch_spectrum`.

    Notes
    -----
    As `scipy.signal.spectrogram` does it. Other coordinates along `dim` are left out. A NaN makes
    the segments that it is in NaN. Chunks as in `welch_spectrum`; the result is ``1 / (2 - 2
    overlap)`` times as large as the frames in float32, and a task holds it twice.

    Float32 is within 1e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = 0.01 * np.arange(1000)
    >>> chirp = xr.DataArray(np.sin(2 * np.pi * (5 + 2 * t) * t), dims="t", coords={"t": t})
    >>> loudest = spectrogram(chirp, segment=100, overlap=0).idxmax("freq_t")
    >>> float(loudest[0].round()), float(loudest[-1].round())
    (7.0, 43.0)
    """
    cut, step, frequencies = _cut(frames, dim, segment, overlap, window, detrend)
    result = apply(
        densities,
        frames,
        [dim],
        dtype=real_dtype(frames.dtype),
        new_sizes={f"{PREFIX}{dim}": frequencies.size, f"segment_{dim}": cut.count},
        kwargs={"cut": cut, "step": step},
    )
    result = result.rename({f"segment_{dim}": dim})
    first = np.arange(cut.count) * cut.step
    middles = first + (cut.size - 1) / 2
    if dim in frames.coords:
        values = frames[dim].to_numpy()
        start, stop = values[first], values[first + cut.size - 1]
        middles = start + (stop - start) / 2
    described = (dim, middles, dict(frames[dim].attrs))
    return result.assign_coords({f"{PREFIX}{dim}": frequencies, dim: described})


def cut_into(
    length: int, size: int, overlap: float, window: str | None, detrend: str | None
) -> Cut:
    """Return how a signal of some `length` is cut into segments of a `size`."""
    stride = max(size - int(overlap * size), 1)
    return Cut(size, stride, (length - size) // stride + 1, window, detrend)


def _cut(
    frames: xr.DataArray,
    dim: Hashable,
    segment: int | None,
    overlap: float,
    window: str | None,
    detrend: str | None,
) -> tuple[Cut, float, xr.Variable]:
    """Return how `frames` are cut, the step along `dim`, and the frequencies of a segment."""
    check_frames(frames, [dim])
    length = frames.sizes[dim]
    size = min(USUAL, length) if segment is None else check_whole("segment", segment, least=2)
    check_number("overlap", overlap, least=0, most=0.95)
    check_choice("window", window, (*COSINES, None))
    check_choice("detrend", detrend, ("mean", "linear", None))
    if not 2 <= size <= length:
        raise OperationError(
            f"frames has {length} samples along {dim!r}, but segment={size} needs "
            f"{max(size, 2)} at least; use shorter segments, or longer frames"
        )
    step, unit = spacing(frames, dim)
    frequencies = np.fft.rfftfreq(size, step)
    return (
        cut_into(length, size, overlap, window, detrend),
        step,
        xr.Variable(f"{PREFIX}{dim}", frequencies, {"units": unit}),
    )


def mean_density(
    array: Array, *, cut: Cut, step: float, average: Literal["mean", "median"] = "mean"
) -> Array:
    """Return the mean over segments of their power spectral density, along the last axis.

    The median is divided by what it is of the mean, for noise.
    """
    real = as_real(array)
    if average == "median":
        middle = middle_of(densities(real, cut=cut, step=step))
        return middle / median_of_mean(cut.count)
    total = _sum(_power(waves) for waves in cut.waves(real))
    return total * like(cut.scale(step) / cut.count, real)


def middle_of(array: Array) -> Array:
    """Return the median along the last axis; NaN where there is one."""
    xp, count = namespace(array), array.shape[-1]
    ranked = xp.sort(array, axis=-1)
    middle = (ranked[..., (count - 1) // 2] + ranked[..., count // 2]) / 2
    nan = like(np.asarray(np.nan), middle)
    return xp.where(xp.any(xp.isnan(array), axis=-1), nan, middle)


def median_of_mean(count: int) -> float:
    """Return the median of the powers of `count` segments of noise, by their mean.

    Allen et al., Phys. Rev. D 85, 122006 (2012), appendix B.

    Examples
    --------
    >>> round(median_of_mean(1), 3), round(median_of_mean(3), 3), round(median_of_mean(9999), 3)
    (1.0, 0.833, 0.693)
    """
    return 1.0 + sum(1 / (n + 1) - 1 / n for n in range(2, count, 2))


def densities(array: Array, *, cut: Cut, step: float) -> Array:
    """Return the power spectral density of each segment; segments are along a new last axis."""
    real = as_real(array)
    factor = like(cut.scale(step), real)
    return namespace(real).stack([_power(waves) * factor for waves in cut.waves(real)], axis=-1)


def mean_coherence(array: Array, other: Array, *, cut: Cut) -> Array:
    """Return the squared coherence of two signals along the last axis, the leading axes broadcast."""
    xp = namespace(array)
    first, second = as_real(array), as_real(other)
    cross: Any = 0.0
    powers: list[Any] = [0.0, 0.0]
    for one, two in zip(cut.waves(first), cut.waves(second), strict=True):
        cross = cross + one * xp.conj(two)
        powers = [powers[0] + _power(one), powers[1] + _power(two)]
    # Roots first: the product of two powers of bright frames is more than float32 holds.
    both = xp.sqrt(powers[0]) * xp.sqrt(powers[1])
    nan = like(np.asarray(np.nan), both)
    part = xp.where(both > 0, xp.abs(cross), nan) / xp.where(both > 0, both, xp.ones_like(both))
    return part**2


def _power(waves: Array) -> Array:
    xp = namespace(waves)
    return xp.real(waves) ** 2 + xp.imag(waves) ** 2


def _sum(arrays: Iterator[Array]) -> Array:
    total = next(arrays)
    for array in arrays:
        total = total + array
    return total
