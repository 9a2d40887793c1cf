"""How much memory operations need beside their frames."""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._arrays import real_dtype
from forebay.ops.catalogue import Operation, operations
from forebay.ops.errors import OperationError
from forebay.ops.filters.nonlocal_means import PIXELS
from forebay.ops.filters.parts import LARGEST, SLAB
from forebay.ops.pointwise.one_pass import STRETCH
from forebay.ops.temporal.sections import MANY, together

SMALL = 2**18
"""What an operation needs however little there is to do: kernels, tables, coordinates."""


@dataclass(frozen=True)
class Work:
    """What an operation is to be done on, counted in pixels."""

    chunk: int
    """Of the largest chunk, made whole along the dimensions that the operation sees whole."""
    frame: int
    """Of one frame, or of one history where the operation goes along a single dimension."""
    itemsize: int
    """Bytes of a pixel that is worked on: 4, or 8 for float64 frames."""
    integers: bool
    """Whether the frames are of integers."""
    beside: int = 0
    """Chunks next to the largest one along the single dimension that the operation goes along."""
    waiting: int = 0
    """Of what is found of chunks along time, for each time that up to four are put together."""

    @property
    def number(self) -> int:
        """Frames, or histories, in a chunk."""
        return self.chunk // self.frame

    @property
    def part(self) -> int:
        """Pixels that are worked on at once by operations that take a chunk a few frames at a time."""
        return min(self.chunk, max(self.frame, LARGEST))

    @property
    def slab(self) -> int:
        """Pixels that a processor works on at once by operations that keep within its cache."""
        return min(self.chunk, max(self.frame, SLAB))

    @property
    def stretch(self) -> int:
        """Pixels that a processor works on at once where each pixel is looked at by itself."""
        return min(self.chunk, STRETCH)


@dataclass(frozen=True)
class Need:
    """How many times its pixels an operation holds at most, in the type that it works in."""

    chunk: float = 0.0
    """Times the chunk."""
    frame: float = 0.0
    """Times one frame."""
    part: float = 0.0
    """Times what is worked on at once."""
    slab: float = 0.0
    """Times what a processor works on at once within its cache."""
    stretch: float = 0.0
    """Times what is worked on at once where each pixel is looked at by itself."""
    beside: float = 0.0
    """Times a chunk for each that it borrows from: it is held until both have what they need."""
    waiting: float = 0.0
    """Times what is found of chunks along time, and waits to be put together."""
    fixed: float = 0.0
    """Bytes, whatever it works on."""
    more: Callable[[Work, Mapping[str, Any]], float] | None = None
    """Bytes that hang on parameters."""

    def bytes(self, work: Work, given: Mapping[str, Any]) -> int:
        """Return the bytes for some work with given parameters."""
        pixels = (
            self.chunk * work.chunk
            + self.frame * work.frame
            + self.part * work.part
            + self.slab * work.slab
            + self.stretch * work.stretch
            + self.beside * work.beside * work.chunk
            + self.waiting * work.waiting
        )
        more = 0.0 if self.more is None else self.more(work, given)
        return int(pixels * work.itemsize + self.fixed + more) + SMALL


def _deconvolving(work: Work, given: Mapping[str, Any]) -> float:
    """Return what a frame with its point-spread function around it takes, in any of its types."""
    sizes = given["psf"].shape
    side = work.frame ** (1 / len(sizes))
    grown = work.frame * np.prod([1 + size / side for size in sizes])
    exact = 2 if given.get("precision") == "exact" else 1
    return float(25 * grown * work.itemsize * exact + 5 * (exact - 1) * work.chunk * 4)


def _mirrored(work: Work, given: Mapping[str, Any]) -> float:
    """Return what a frame with its mirror images takes, twice its length along each dimension."""
    times = (
        2 ** len(given.get("dims", ("y", "x"))) if given.get("edge", "reflect") == "reflect" else 1
    )
    return 11.0 * work.frame * times * work.itemsize


def _scales(work: Work, given: Mapping[str, Any]) -> float:
    """Return what as many copies as there are scales take, of a few frames at a time."""
    stack = given.get("scales", 8) * work.frame
    most = given.get("scales", 8) * work.chunk
    return float(4 * work.itemsize * min(max(stack, LARGEST), most))


def _histograms(work: Work, given: Mapping[str, Any]) -> float:
    """Return what the histograms of all frames take."""
    bins = given.get("bins") or (2**16 if work.integers else 256)
    return 80.0 * work.number * bins


def _segments(work: Work, given: Mapping[str, Any]) -> float:
    """Return what a segment of each history takes."""
    segment = given.get("segment") or 256
    return 11.0 * work.itemsize * work.number * min(segment, work.frame)


def _sections(work: Work, given: Mapping[str, Any]) -> float:
    """Return what a filter remembers of each history, float64."""
    return 6.0 * 8 * work.number * len(given["sos"])


def _recursive(work: Work, given: Mapping[str, Any]) -> float:
    """Return what all pixels of a slab take together, or few histories one after the other."""
    if work.number < MANY:
        return 5.5 * work.itemsize * work.chunk + _sections(work, given)
    pixels = min(work.number, together(given["sos"]))
    return 1.1 * work.itemsize * pixels * work.frame + 100.0 * len(given["sos"]) * pixels


def _alike(work: Work, given: Mapping[str, Any]) -> float:
    """Return what the pieces of frames take, or all of what is worked on where there are none."""
    if len(given["dims"]) == 2:
        return 12.0 * work.itemsize * PIXELS
    return 10.5 * work.itemsize * work.part


def _steps(work: Work, given: Mapping[str, Any]) -> float:
    """Return what lies between the steps of a formula, where there is more than one."""
    several = any(given.get(name) is not None for name in ("threshold", "dtype", "exposure"))
    return 3.0 * several * work.itemsize * work.stretch


def _padded(work: Work, given: Mapping[str, Any]) -> float:
    """Return what is put before and behind each series, so that a filter forth and back is settled."""
    return float(32 * 8 * work.number * 2 * (given.get("order", 4) + 1))


_FFT = Need(chunk=7.5, frame=4)
_MORPHOLOGY = Need(chunk=1.1, slab=4.5)
_POINTWISE = Need(chunk=1.1, frame=3, more=_steps)
_CODES = Need(chunk=0.6, stretch=5, fixed=6e6)
_SAME_PIXELS = Need(chunk=2.1, stretch=4)
_WINDOWS = Need(chunk=1, fixed=200e6)

NEEDS: dict[str, Need] = {
    "align_channels": Need(chunk=10.5, frame=9),
    "anisotropic_diffusion": Need(chunk=2, part=7.5),
    "apply_window": Need(chunk=2.2, frame=1),
    "background": Need(
        chunk=3,
        frame=7,
        more=lambda work, given: (
            11.0 * work.waiting * work.itemsize if given["method"] == "mean" else 0.0
        ),
    ),
    "bad_pixels": Need(frame=22, slab=8, waiting=12),
    "bandpass": Need(chunk=1.1, slab=6),
    "bilateral_filter": Need(chunk=2, part=8.5),
    "bin_frames": Need(chunk=3.2, frame=1),
    "bin_pixels": Need(chunk=3.2, frame=1),
    "black_top_hat": _MORPHOLOGY,
    "cell_averaging_cfar": Need(chunk=13, frame=1),
    "centroid": _WINDOWS,
    "closing": _MORPHOLOGY,
    "coherence": Need(chunk=2.2, more=_segments),
    "compand": _CODES,
    "continue_iir_filter": Need(chunk=6.5, more=_sections),
    "correct_camera": _POINTWISE,
    "correct_drift": Need(chunk=3.2, frame=13),
    "correct_photobleaching": Need(
        chunk=2.2,
        frame=8,
        more=lambda work, given: (
            4.0 * work.chunk * work.itemsize if given.get("method") == "histogram" else 0.0
        ),
    ),
    "crop": Need(chunk=1),
    "difference_of_gaussians": Need(chunk=1.1, slab=6),
    "dilation": _MORPHOLOGY,
    "drop_low_bits": _SAME_PIXELS,
    "erosion": _MORPHOLOGY,
    "estimate_drift": Need(chunk=10.5, frame=12),
    "estimate_illumination": Need(
        frame=13,
        waiting=6,
        more=lambda work, given: (
            3.0 * work.chunk * work.itemsize if given.get("average") == "median" else 0.0
        ),
    ),
    "estimate_tile_offsets": Need(chunk=4, frame=12),
    "expand": _CODES,
    "exponential_filter": Need(chunk=2.2, frame=2),
    "filter_series": Need(chunk=8.5, more=_padded),
    "find_blobs": Need(more=_scales),
    "find_particles": Need(chunk=1, part=10),
    "find_peaks_series": Need(chunk=17, slab=19),
    "fir_filter": Need(chunk=3, frame=1, beside=1.6),
    "flat_field": _POINTWISE,
    "fourier_bandpass": _FFT,
    "fourier_filter": _FFT,
    "fourier_ring_correlation": Need(chunk=1, frame=22, waiting=12),
    "gaussian_filter": Need(chunk=1.1, slab=4.5),
    "gaussian_fit": _WINDOWS,
    "h_maxima": Need(chunk=12, frame=1),
    "iir_filter": Need(chunk=1.1, more=_recursive),
    "label": Need(chunk=4, frame=4),
    "laplacian_of_gaussian": Need(chunk=1.1, slab=5.5),
    "local_threshold": Need(chunk=3.2, frame=3),
    "mask_outside": Need(chunk=2, frame=1),
    "matched_filter": Need(chunk=23, frame=1),
    "matched_filter_series": Need(chunk=24),
    "mean_change": Need(chunk=2.5, frame=2),
    "measure_reduction": Need(chunk=11),
    "measured_psf": Need(chunk=2.2, frame=14),
    "median_filter": Need(chunk=2.2, frame=1),
    "nonlocal_means": Need(chunk=1.1, slab=3.2, more=_alike),
    "opening": _MORPHOLOGY,
    "otsu_threshold": Need(chunk=4, frame=2, more=_histograms),
    "phase_correlation": Need(chunk=9.5, frame=3),
    "photon_transfer": Need(frame=24, slab=8, waiting=24),
    "pixel_variance": Need(chunk=6, frame=1),
    "power_spectrum": Need(chunk=8.5, frame=1),
    "quantise_to_noise": _CODES,
    "radial_average": Need(chunk=4, frame=4),
    "radial_symmetry": _WINDOWS,
    "region_properties": Need(chunk=16, frame=4),
    "remove_cosmic_rays": Need(chunk=2, part=13),
    "remove_fixed_pattern": Need(chunk=4.5, frame=1),
    "replace_bad_pixels": Need(chunk=4, frame=2, fixed=64e6),
    "richardson_lucy": Need(chunk=3.2, more=_deconvolving),
    "ring_resolution": Need(chunk=4),
    "rolling_ball": Need(
        chunk=4,
        frame=1,
        more=lambda work, given: (
            3.0 * work.chunk * work.itemsize if given.get("precision") == "fast" else 0.0
        ),
    ),
    "running_mean": Need(chunk=1.1, slab=4, beside=2.7),
    "running_median": Need(chunk=2.2, frame=1, beside=1.6),
    "saturated_fraction": Need(chunk=0.5, frame=0.5),
    "select_frames": Need(chunk=2.6),
    "sharpness": Need(chunk=10.5, frame=1),
    "sparsify": _SAME_PIXELS,
    "spectrogram": Need(
        more=lambda work, given: (
            _segments(work, given)
            + 2.5 * work.chunk * work.itemsize / (2 - 2 * given.get("overlap", 0.5))
        )
    ),
    "stitch_tiles": Need(chunk=9, frame=6),
    "subtract_background": _POINTWISE,
    "subtract_dark": _POINTWISE,
    "to_electrons": _POINTWISE,
    "to_integers": _SAME_PIXELS,
    "triangle_threshold": Need(chunk=4, frame=2, more=_histograms),
    "unsupervised_wiener": Need(chunk=3.5, frame=10, more=_mirrored),
    "wavelet_denoise": Need(chunk=1.1, slab=11),
    "welch": Need(chunk=12),
    "welch_spectrum": Need(chunk=1.2, more=_segments),
    "white_top_hat": _MORPHOLOGY,
    "whiten": Need(chunk=14),
    "wiener": Need(chunk=4.2, more=_mirrored),
}
"""Of each operation, as measured, rounded up."""


def scratch_bytes(operation: str, frames: xr.DataArray, **parameters: Any) -> int:
    """Return how many bytes an operation needs beside a chunk of frames, its result included.

    Parameters
    ----------
    operation
        Its name, such as ``"bandpass"``.
    frames
        What it is to be done on. Only sizes, dtype and chunks count: nothing is computed, and
        eager frames are one chunk. Dask works on as many chunks at once as there are threads.
    **parameters
        Those that the operation will be called with.

    Returns
    -------
    int
        An upper limit for frames that are not tiny, measured for each operation and rounded up;
        up to three times what it really takes. What chunks borrow from their neighbours is
        counted along time, and not where chunks cut through frames.

    Raises
    ------
    OperationError
        If there is no such operation, or it has no such parameter.

    Notes
    -----
    An algorithm that is declared with ``scratch=`` has its units handed out by this. Operations
    that follow each other hold their scratch one after the other: the largest counts, and the
    results that are still needed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.zeros((16, 512, 512), "uint16"), dims=("t", "y", "x"))
    >>> round(scratch_bytes("gaussian_filter", frames, sigma=2) / 2**20, 2)
    22.35
    """
    known = operations()
    if operation not in known:
        raise OperationError(
            f"there is no operation {operation!r} on frames; 'forebay ops list' shows those there are"
        )
    if not isinstance(frames, xr.DataArray):
        raise OperationError(
            f"frames is a {type(frames).__name__}, but must be an xarray.DataArray"
        )
    chosen = known[operation]
    unknown = sorted(parameters.keys() - chosen.parameters.keys())
    if unknown:
        raise OperationError(
            f"{operation} has no parameter {unknown[0]!r}; it has {', '.join(chosen.parameters)}"
        )
    given = _defaults(chosen) | parameters
    return NEEDS[operation].bytes(_work(frames, given), given)


def _defaults(operation: Operation) -> dict[str, Any]:
    """Return the parameters of an operation that have a default."""
    return {
        name: each.default
        for name, each in operation.parameters.items()
        if each.default is not each.empty
    }


def _work(frames: xr.DataArray, given: Mapping[str, Any]) -> Work:
    """Return what there is to do on the largest chunk of some frames."""
    lengths = dict(frames.sizes)
    if frames.chunks is not None:
        lengths = {dim: max(parts) for dim, parts in frames.variable.chunksizes.items()}
    if "dims" in given:
        dims = list(given["dims"])
    else:
        dims = [given["dim"]] if "dim" in given else ["y", "x"]
    own = [dim for dim in dims if dim in frames.sizes]
    frame = int(np.prod([frames.sizes[dim] for dim in own]))
    others = int(np.prod([length for dim, length in lengths.items() if dim not in own]))
    whole = others * frame
    chunk = int(np.prod(list(lengths.values())))
    # Where chunks cut through what is seen whole, they are merged, and others cut instead.
    pixels = min(whole, max(chunk, frame))
    return Work(
        max(pixels, 1),
        max(frame, 1),
        real_dtype(frames.dtype).itemsize,
        frames.dtype.kind in "iub",
        min(len(frames.variable.chunksizes[own[0]]) - 1, 2)
        if frames.chunks is not None and len(own) == 1
        else 0,
        _waiting(lengths, len(frames.chunksizes.get(given.get("dim"), ())), given.get("dim")),
    )


def _waiting(lengths: Mapping[Hashable, int], chunks: int, dim: Hashable) -> int:
    """Return the pixels that wait when `chunks` of some lengths are averaged along `dim`, by fours."""
    across = math.prod(length for each, length in lengths.items() if each != dim)
    return across * math.ceil(math.log(max(chunks, 1), 4))
