"""Operations beside float64 references of SciPy, scikit-image or the formula, as published.

Each is done on random frames and on real ones, which are of 1 µm spheres in water. What is compared
with a reference on real frames in a file of its own is not here: see `ELSEWHERE`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import skimage.filters
import skimage.measure
import skimage.morphology
import skimage.restoration
import xarray as xr
from tests.ops.compared import ELSEWHERE, STARTS, frames

from forebay import ops
from forebay.ops.catalogue import operations

__all__ = ["frames"]

SQUARE = np.ones((1, 5, 5), bool)
DISC = skimage.morphology.disk(3)[None]  # type: ignore[no-untyped-call]
SECTIONS = scipy.signal.butter(4, 0.2, output="sos")
TAPS = [0.5, 0.3, 0.2]
LEVEL = 7.0


def image(frames: xr.DataArray) -> xr.DataArray:
    """Return an image that goes beside frames, everywhere above zero."""
    return frames[0].astype("float32") * 0.25 + 11


@dataclass(frozen=True)
class Reference:
    """An operation, and what it is compared with."""

    ours: Callable[[xr.DataArray], Any]
    """Of frames."""
    theirs: Callable[[Any], Any]
    """Of the same pixels in float64, time first."""


def each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of one frame as one of several."""
    return lambda f: np.stack([function(frame) for frame in f])


def of_image(f: Any) -> Any:
    """Return the pixels of `image` in float64."""
    return f[0] * 0.25 + 11


def blurred(f: Any, sigma: float, **options: Any) -> Any:
    """Return frames blurred by SciPy."""
    return scipy.ndimage.gaussian_filter(f, (0, sigma, sigma), mode="nearest", **options)


def eroded(f: Any, rank: str = "minimum", size: Any = SQUARE) -> Any:
    """Return the least, or the largest, of the pixels under a footprint."""
    return getattr(scipy.ndimage, f"{rank}_filter")(f, footprint=size, mode="nearest")


def diffused(f: Any, *, edge: float, step: float = 0.2, iterations: int = 3) -> Any:
    """Return frames after Perona and Malik, section V, with the exponential conductance."""
    for _ in range(iterations):
        padded = np.pad(f, ((0, 0), (1, 1), (1, 1)), mode="edge")
        near = [padded[:, 1 + a : a - 1 or None, 1 + b : b - 1 or None] for a, b in _AROUND]
        f = f + step * sum(np.exp(-(((n - f) / edge) ** 2)) * (n - f) for n in near)
    return f


_AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))


def bilateral(f: Any, *, sigma: float, value_sigma: float, reach: int) -> Any:
    """Return frames after Tomasi and Manduchi, in a square."""
    padded = np.pad(f, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    total, weights = np.zeros_like(f), np.zeros_like(f)
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            near = np.roll(padded, (-y, -x), (1, 2))[:, reach:-reach, reach:-reach]
            weight = np.exp(-(y * y + x * x) / 2 / sigma**2 - ((near - f) / value_sigma) ** 2 / 2)
            total, weights = total + weight * near, weights + weight
    return total / weights


def filtered(f: Any, gain: Callable[[Any], Any]) -> Any:
    """Return frames whose waves have passed with a gain for each frequency."""
    y, x = (np.fft.fftfreq(size) for size in f.shape[1:])
    return np.fft.ifft2(np.fft.fft2(f) * gain(np.hypot(y[:, None], x))).real


def density(f: Any) -> Any:
    """Return two-sided densities of frames less their means under a periodic Hann window."""
    window = np.outer(*(scipy.signal.get_window("hann", size) for size in f.shape[1:]))
    centred = f - f.mean((1, 2), keepdims=True)
    power = abs(np.fft.fft2(window * centred)) ** 2 / (window**2).sum()
    return np.fft.fftshift(power, axes=(1, 2))


def forgetting(f: Any, alpha: float = 0.3) -> Any:
    """Return the mean that forgets, frame by frame."""
    made = [f[0]]
    for frame in f[1:]:
        made.append(made[-1] + alpha * (frame - made[-1]))
    return np.stack(made)


def reconstructed(f: Any, h: float) -> Any:
    """Return which pixels are tops of maxima that are h above what is around them."""
    floor = skimage.morphology.reconstruction(f - h, f, footprint=np.ones((3, 3)))  # type: ignore[no-untyped-call]
    return f - floor >= h


def started(f: Any) -> Any:
    """Return recursive sections that have seen the first frame for ever."""
    start = scipy.signal.sosfilt_zi(SECTIONS)[:, :, None, None] * f[:1]
    return scipy.signal.sosfilt(SECTIONS, f, axis=0, zi=start)[0]


def welch(f: Any, **options: Any) -> Any:
    """Return SciPy's densities of the histories of pixels."""
    return scipy.signal.welch(f, nperseg=8, noverlap=4, axis=0, **options)[1]


def along_t(result: xr.DataArray) -> xr.DataArray:
    """Return a spectrum with its frequencies first."""
    return result.transpose("freq_t", ...)


def evened(f: Any) -> Any:
    """Return frames by a flat one, as bright in the mean."""
    return f / of_image(f) * of_image(f).mean()


def around(f: Any, guard: int, training: int, side: int = 1) -> tuple[Any, Any, int]:
    """Return mean and standard deviation of the training pixels around each, and their number."""
    edge = side // 2 + guard + training
    ring = np.ones((1, 2 * edge + 1, 2 * edge + 1))
    ring[:, training:-training, training:-training] = 0
    number = int(ring.sum())
    mean = scipy.ndimage.correlate(f, ring / number)
    # The squares are those of what differs from the mean of the frame, lest they cancel.
    centred = f - f.mean((1, 2), keepdims=True)
    square = scipy.ndimage.correlate(centred**2, ring / number)
    spread = square - scipy.ndimage.correlate(centred, ring / number) ** 2
    inside = np.zeros(f.shape, bool)
    inside[:, edge:-edge, edge:-edge] = True
    mean[~inside] = np.nan
    spread[~inside] = np.nan
    return mean, np.sqrt(spread * number / (number - 1)), number


def matched(f: Any) -> Any:
    """Return Student's ratio for the template, in other words the formula of `matched_filter`."""
    h = TEMPLATE / np.sqrt((TEMPLATE**2).sum())
    mean, spread, number = around(f, 1, 4, len(h))
    found = scipy.ndimage.correlate(f, h[None]) - h.sum() * mean
    return found / (spread * np.sqrt(1 + h.sum() ** 2 / number))


def above_chance(f: Any, rate: float = 0.4) -> Any:
    """Return the ratios of Finn and Johnson above their threshold, else zero."""
    mean, _, number = around(f, 1, 4)
    ratio = f / mean
    ratio[ratio <= number * (rate ** (-1 / number) - 1)] = 0
    return ratio


def flattened(f: Any) -> Any:
    """Return histories whose waves are divided by the amplitude of `NOISE`."""
    at = abs(np.fft.fftfreq(len(f)))
    gain = np.where((at > 0) & (at < 0.5), 1 / np.sqrt(np.interp(at, *NOISE) / 2), 0)
    return np.fft.ifft(np.fft.fft(f - f.mean(0), axis=0) * gain[:, None, None], axis=0).real


def found_in_noise(f: Any) -> Any:
    """Return the ratio of FINDCHIRP, as a plain sum over positive frequencies."""
    n = len(f)
    at, t = np.arange(1, n // 2) / n, np.arange(n)
    s, h = (
        np.tensordot(np.exp(-2j * np.pi * np.outer(at, np.arange(len(x)))), x, 1)
        for x in (f - f.mean(0), BURST)
    )
    noise = np.interp(at, *NOISE)
    waves = np.exp(2j * np.pi * np.outer(t, at)) * (h.conj() / noise)
    z = 4 / n * np.tensordot(waves, s, 1)
    return abs(z) / np.sqrt(4 / n * (abs(h) ** 2 / noise).sum())


def rings(f: Any) -> Any:
    """Return the means of power densities over rings about frequency zero, one step wide."""
    power = density(f)
    y, x = (np.fft.fftshift(np.fft.fftfreq(size)) for size in f.shape[1:])
    step = max(y[1] - y[0], x[1] - x[0])
    ring = np.floor(np.hypot(y[:, None], x) / step + 0.5).astype(int)
    number = int(min(abs(y).max(), abs(x).max()) / step + 1e-9) + 1
    return np.stack([power[:, ring == each].mean(1) for each in range(number)], axis=1)


def electrons(f: Any) -> Any:
    """Return the gain by Janesick for one level: what is above the dark, by its own variance."""
    light, dark = f[:6], f[6:] * DIM
    return (light.mean() - dark.mean()) / (light.var(0, ddof=1) - dark.var(0, ddof=1)).mean()


def regions(f: Any) -> Any:
    """Return area, centre, mass and box of each region above the mean, by scikit-image."""
    rows = []
    for frame in f:
        numbers: Any = skimage.measure.label(frame > f.mean(), connectivity=1)  # type: ignore[no-untyped-call]
        for region in skimage.measure.regionprops(numbers, frame):  # type: ignore[no-untyped-call]
            mass = region.area * region.intensity_mean
            rows.append([region.area, *region.centroid, mass, *region.bbox])
    return rows


def our_regions(f: xr.DataArray) -> Any:
    """Return the same of ours."""
    table: Any = ops.region_properties(ops.label(f > float(f.astype(float).mean())), f)
    columns = ["area", "y", "x", "mass", "y_start", "x_start", "y_stop", "x_stop"]
    return table[columns].to_numpy()


def tops(f: Any) -> Any:
    """Return heights and prominences of the peaks of each row of the first frame."""
    found = []
    for row in f[0]:
        at, measured = scipy.signal.find_peaks(row, prominence=5)
        found.append(np.stack([row[at], measured["prominences"]], axis=1))
    return np.concatenate(found)


def our_tops(f: xr.DataArray) -> Any:
    """Return the same of ours."""
    table: Any = ops.find_peaks_series(f[0], prominence=5, dim="x")
    return table[["height", "prominence"]].to_numpy()


def centres(f: Any) -> Any:
    """Return the centres of brightness of disks about the middle of each frame, by SciPy."""
    y, x = np.mgrid[-6:7, -6:7]
    disk = y**2 + x**2 <= 36
    windows = f[:, 14:27, 14:27] * disk
    return [np.add(scipy.ndimage.center_of_mass(window), 14) for window in windows]


def our_centres(f: xr.DataArray) -> Any:
    """Return the same of ours."""
    table: Any = ops.centroid(f, STARTS, radius=6, background=0)
    return table[["y", "x"]].to_numpy()


DIM = 0.1
"""By how much frames become dark ones."""
TEMPLATE = np.exp(-np.add.outer(np.arange(-2, 3) ** 2, np.arange(-2, 3) ** 2) / 3.0)
NOISE = (np.array([0.1, 0.2, 0.4]), np.array([1.0, 2.0, 4.0]))
"""Frequencies, and densities there."""
BURST = np.array([1.0, -2.0, 1.5, 0.5])
GIVEN_NOISE = xr.DataArray(NOISE[1], dims="freq_t", coords={"freq_t": NOISE[0]})


REFERENCES: dict[str, Reference] = {
    "anisotropic_diffusion": Reference(
        lambda f: ops.anisotropic_diffusion(f, iterations=3, edge=20, step=0.2),
        lambda f: diffused(f, edge=20),
    ),
    "apply_window": Reference(
        ops.apply_window,
        lambda f: f * np.outer(*(scipy.signal.get_window("hann", n) for n in f.shape[1:])),
    ),
    "background": Reference(ops.background, lambda f: np.median(f, axis=0)),
    "bandpass": Reference(
        lambda f: ops.bandpass(f, background_sigma=4), lambda f: blurred(f, 1) - blurred(f, 4)
    ),
    "bilateral_filter": Reference(
        lambda f: ops.bilateral_filter(f, sigma=1, value_sigma=30),
        lambda f: bilateral(f, sigma=1, value_sigma=30, reach=3),
    ),
    "bin_frames": Reference(
        lambda f: ops.bin_frames(f.astype("float32"), factor=3),
        lambda f: f.reshape(4, 3, 45, 52).mean(1),
    ),
    "bin_pixels": Reference(
        lambda f: ops.bin_pixels(f.astype("float32"), factor=(5, 4)),
        each(lambda f: skimage.measure.block_reduce(f, (5, 4), np.mean)),  # type: ignore[no-untyped-call]
    ),
    "black_top_hat": Reference(
        lambda f: ops.black_top_hat(f, size=7),
        lambda f: eroded(eroded(f, "maximum", DISC), "minimum", DISC) - f,
    ),
    "closing": Reference(
        lambda f: ops.closing(f, size=5, footprint="square"),
        lambda f: eroded(eroded(f, "maximum")),
    ),
    "coherence": Reference(
        lambda f: along_t(ops.coherence(f, f[::-1], segment=6))[1:-1],
        lambda f: scipy.signal.coherence(f, f[::-1], nperseg=6, noverlap=3, axis=0)[1][1:-1],
    ),
    "continue_iir_filter": Reference(
        lambda f: (
            ops.continue_iir_filter(
                f[5:], sos=SECTIONS, state=ops.continue_iir_filter(f[:5], sos=SECTIONS).state
            ).frames
        ),
        lambda f: started(f)[5:],
    ),
    "correct_camera": Reference(
        lambda f: ops.correct_camera(f, dark=f[:1].mean("t") * 0 + LEVEL, flat=image(f), gain=0.5),
        lambda f: (f - LEVEL) / (of_image(f) - LEVEL) * (of_image(f) - LEVEL).mean() * 0.5,
    ),
    "crop": Reference(
        lambda f: ops.crop(f, bounds={"y": (3, 20), "x": (5, 30)}), lambda f: f[:, 3:20, 5:30]
    ),
    "dilation": Reference(lambda f: ops.dilation(f, size=7), lambda f: eroded(f, "maximum", DISC)),
    "erosion": Reference(lambda f: ops.erosion(f, size=7), lambda f: eroded(f, size=DISC)),
    "exponential_filter": Reference(lambda f: ops.exponential_filter(f, alpha=0.3), forgetting),
    "fir_filter": Reference(
        lambda f: ops.fir_filter(f, taps=TAPS, before="zero"),
        lambda f: scipy.signal.lfilter(TAPS, 1, f, axis=0),
    ),
    "flat_field": Reference(lambda f: ops.flat_field(f, flat=image(f)), evened),
    "fourier_bandpass": Reference(
        lambda f: ops.fourier_bandpass(f, min_wavelength=4, edge="butterworth"),
        lambda f: filtered(f, lambda r: 1 / np.sqrt(1 + (r * 4) ** 4)),
    ),
    "fourier_filter": Reference(
        lambda f: ops.fourier_filter(f, kind="low", cutoff=0.1),
        lambda f: filtered(f, lambda r: 1 / np.sqrt(1 + (r / 0.1) ** 4)),
    ),
    "h_maxima": Reference(lambda f: ops.h_maxima(f, h=12), each(lambda f: reconstructed(f, 12))),
    "iir_filter": Reference(lambda f: ops.iir_filter(f, sos=SECTIONS), started),
    "laplacian_of_gaussian": Reference(
        # SciPy's kernels are cut off where a second derivative is not over yet.
        lambda f: ops.laplacian_of_gaussian(f, sigma=2, truncate=7),
        each(lambda f: scipy.ndimage.gaussian_laplace(f, 2, mode="nearest", truncate=7)),
    ),
    "mask_outside": Reference(
        lambda f: ops.mask_outside(f, bounds={"y": (3, 20)}),
        lambda f: f * ((np.arange(45) >= 3) & (np.arange(45) < 20))[:, None],
    ),
    "mean_change": Reference(
        lambda f: ops.mean_change(f, f[2]), lambda f: abs(f - f[2]).mean((1, 2))
    ),
    "opening": Reference(
        lambda f: ops.opening(f, size=5, footprint="square"),
        lambda f: eroded(eroded(f), "maximum"),
    ),
    "pixel_variance": Reference(ops.pixel_variance, lambda f: f.var((1, 2))),
    "power_spectrum": Reference(ops.power_spectrum, density),
    "running_mean": Reference(
        lambda f: ops.running_mean(f, window=5),
        lambda f: scipy.ndimage.uniform_filter1d(f, 5, axis=0, mode="nearest"),
    ),
    "running_median": Reference(
        lambda f: ops.running_median(f, window=5),
        lambda f: scipy.ndimage.median_filter(f, (5, 1, 1), mode="nearest"),
    ),
    "sparsify": Reference(
        lambda f: ops.sparsify(f, threshold=60), lambda f: np.where(f >= 60, f, 0)
    ),
    "spectrogram": Reference(
        lambda f: ops.spectrogram(f, segment=6).transpose("freq_t", "y", "x", "t"),
        lambda f: scipy.signal.spectrogram(f, nperseg=6, noverlap=3, window="hann", axis=0)[2],
    ),
    "subtract_background": Reference(
        lambda f: ops.subtract_background(f, image(f)), lambda f: f - of_image(f)
    ),
    "subtract_dark": Reference(lambda f: ops.subtract_dark(f, image(f)), lambda f: f - of_image(f)),
    "to_electrons": Reference(
        lambda f: ops.to_electrons(f, gain=0.45, offset=LEVEL), lambda f: (f - LEVEL) * 0.45
    ),
    "to_integers": Reference(
        lambda f: ops.to_integers(f / 3, dtype="uint8"),
        lambda f: np.clip(np.rint(f / 3), 0, 255),
    ),
    "welch_spectrum": Reference(lambda f: along_t(ops.welch_spectrum(f, segment=8)), welch),
    "welch": Reference(lambda f: along_t(ops.welch(f, segment=8)), welch),
    "filter_series": Reference(
        lambda f: ops.filter_series(f, high=0.2, order=1),
        lambda f: scipy.signal.sosfiltfilt(scipy.signal.butter(1, 0.4, output="sos"), f, axis=0),
    ),
    "matched_filter": Reference(lambda f: ops.matched_filter(f, template=TEMPLATE), matched),
    "cell_averaging_cfar": Reference(
        lambda f: ops.cell_averaging_cfar(f, false_alarm_rate=0.4), above_chance
    ),
    "whiten": Reference(lambda f: ops.whiten(f, density=GIVEN_NOISE, taper=0), flattened),
    "matched_filter_series": Reference(
        lambda f: ops.matched_filter_series(
            f, template=xr.DataArray(BURST, dims="t"), density=GIVEN_NOISE, taper=0
        ),
        found_in_noise,
    ),
    "radial_average": Reference(lambda f: ops.radial_average(ops.power_spectrum(f)), rings),
    "photon_transfer": Reference(lambda f: ops.photon_transfer(f[:6], f[6:] * DIM).gain, electrons),
    "region_properties": Reference(our_regions, regions),
    "find_peaks_series": Reference(our_tops, tops),
    "centroid": Reference(our_centres, centres),
}


def test_every_operation_is_compared_on_real_frames() -> None:
    """Each has one place, and the file that is named speaks of it and of the real frames."""
    named = [*REFERENCES, *(each for names in ELSEWHERE.values() for each in names)]
    assert sorted(named) == sorted(operations())
    for file, names in ELSEWHERE.items():
        text = (Path(__file__).parent / f"{file}.py").read_text()
        assert "bulk_water" in text
        assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("name", REFERENCES)
def test_it_is_the_reference(name: str, frames: xr.DataArray) -> None:
    """Frames of integers and of float32 give the reference to within what its docstring says."""
    reference = REFERENCES[name]
    expected = np.asarray(reference.theirs(frames.values.astype(np.float64)))
    tolerance = operations()[name].tolerance
    assert tolerance is not None, "its docstring does not say how near float32 is"
    limit = tolerance * np.nanmax(abs(expected))
    assert limit > 0 or tolerance == 0
    for given in (frames, frames.astype("float32")):
        np.testing.assert_allclose(reference.ours(given), expected, rtol=0, atol=limit)
