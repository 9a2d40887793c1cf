"""Operations on frames: pure functions, xarray in, xarray out; NumPy or CuPy, eager or Dask.

Each takes a `xarray.DataArray` first and keeps its dimensions, coordinates, name and attributes.
On Dask-backed frames nothing is computed before the result is asked for. Work is done in float32,
or in float64 where the frames are float64; what makes frames smaller gives integers for integers
and says by how much they can be off. Whatever cannot be done raises `OperationError`.
"""

from forebay.ops.correction.background import background, subtract_background
from forebay.ops.correction.flat import flat_field
from forebay.ops.deconvolution.gibson_lanni import gibson_lanni_psf
from forebay.ops.deconvolution.point_spread import airy_psf, gaussian_psf, measured_psf
from forebay.ops.deconvolution.richardson_lucy import richardson_lucy
from forebay.ops.deconvolution.wiener import unsupervised_wiener, wiener
from forebay.ops.errors import OperationError
from forebay.ops.filters.fourier import fourier_bandpass, fourier_filter
from forebay.ops.filters.gaussian import bandpass
from forebay.ops.particles.finding import find_particles
from forebay.ops.particles.matching import Matches, match_points
from forebay.ops.reduction.activity import mean_change, pixel_variance
from forebay.ops.reduction.binning import bin_pixels
from forebay.ops.reduction.bits import drop_low_bits
from forebay.ops.reduction.companding import Companding, compand, expand
from forebay.ops.reduction.integers import to_integers
from forebay.ops.reduction.region import crop, mask_outside
from forebay.ops.reduction.sparse import sparsify
from forebay.ops.registration.channels import align_channels, fit_affine
from forebay.ops.registration.correlation import phase_correlation
from forebay.ops.registration.drift import estimate_drift
from forebay.ops.registration.shifting import correct_drift
from forebay.ops.registration.tiles import estimate_tile_offsets, stitch_tiles
from forebay.ops.spectra.power import power_spectrum
from forebay.ops.spectra.radial import radial_average
from forebay.ops.spectra.ring_correlation import fourier_ring_correlation, ring_resolution
from forebay.ops.spectra.segments import coherence, spectrogram, welch_spectrum
from forebay.ops.spectra.windows import apply_window

__all__ = [
    "Companding",
    "Matches",
    "OperationError",
    "airy_psf",
    "align_channels",
    "apply_window",
    "background",
    "bandpass",
    "bin_pixels",
    "coherence",
    "compand",
    "correct_drift",
    "crop",
    "drop_low_bits",
    "estimate_drift",
    "estimate_tile_offsets",
    "expand",
    "find_particles",
    "fit_affine",
    "flat_field",
    "fourier_bandpass",
    "fourier_filter",
    "fourier_ring_correlation",
    "gaussian_psf",
    "gibson_lanni_psf",
    "mask_outside",
    "match_points",
    "mean_change",
    "measured_psf",
    "phase_correlation",
    "pixel_variance",
    "power_spectrum",
    "radial_average",
    "richardson_lucy",
    "ring_resolution",
    "sparsify",
    "spectrogram",
    "stitch_tiles",
    "subtract_background",
    "to_integers",
    "unsupervised_wiener",
    "welch_spectrum",
    "wiener",
]
