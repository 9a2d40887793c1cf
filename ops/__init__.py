"""Operations on frames: pure functions, xarray in, xarray out; NumPy or CuPy, eager or Dask.

Each takes a `xarray.DataArray` first and keeps its dimensions, coordinates, name and attributes.
On Dask-backed frames nothing is computed before the result is asked for. Work is done in float32,
or in float64 where the frames are float64; what makes frames smaller gives integers for integers
and says by how much they can be off. Whatever cannot be done raises `OperationError`.
"""

from forebay.ops.accessor import FramesAccessor
from forebay.ops.correction.background import background, subtract_background
from forebay.ops.correction.bad_pixels import bad_pixels, replace_bad_pixels
from forebay.ops.correction.camera import correct_camera
from forebay.ops.correction.cosmic_rays import remove_cosmic_rays
from forebay.ops.correction.dark import subtract_dark
from forebay.ops.correction.fixed_pattern import remove_fixed_pattern
from forebay.ops.correction.flat import flat_field
from forebay.ops.correction.illumination import estimate_illumination
from forebay.ops.correction.photobleaching import correct_photobleaching
from forebay.ops.correction.photon_transfer import photon_transfer, to_electrons
from forebay.ops.deconvolution.gibson_lanni import gibson_lanni_psf
from forebay.ops.deconvolution.point_spread import airy_psf, gaussian_psf, measured_psf
from forebay.ops.deconvolution.richardson_lucy import richardson_lucy
from forebay.ops.deconvolution.wiener import unsupervised_wiener, wiener
from forebay.ops.detection.blobs import find_blobs
from forebay.ops.detection.local import local_threshold
from forebay.ops.detection.matched import cell_averaging_cfar, matched_filter
from forebay.ops.detection.maxima import h_maxima
from forebay.ops.detection.thresholds import otsu_threshold, triangle_threshold
from forebay.ops.errors import OperationError
from forebay.ops.filters.bilateral import bilateral_filter
from forebay.ops.filters.diffusion import anisotropic_diffusion
from forebay.ops.filters.fourier import fourier_bandpass, fourier_filter
from forebay.ops.filters.gaussian import (
    bandpass,
    difference_of_gaussians,
    gaussian_filter,
    laplacian_of_gaussian,
)
from forebay.ops.filters.median import median_filter
from forebay.ops.filters.morphology import (
    black_top_hat,
    closing,
    dilation,
    erosion,
    opening,
    white_top_hat,
)
from forebay.ops.filters.nonlocal_means import nonlocal_means
from forebay.ops.filters.rolling_ball import rolling_ball
from forebay.ops.filters.wavelet import wavelet_denoise
from forebay.ops.localisation.centroid import centroid
from forebay.ops.localisation.gaussian import gaussian_fit
from forebay.ops.localisation.radial import radial_symmetry
from forebay.ops.measurement.labelling import label
from forebay.ops.measurement.regions import region_properties
from forebay.ops.particles.finding import find_particles
from forebay.ops.particles.matching import Matches, match_points
from forebay.ops.reduction.activity import mean_change, pixel_variance
from forebay.ops.reduction.binning import bin_frames, bin_pixels
from forebay.ops.reduction.bits import drop_low_bits
from forebay.ops.reduction.companding import Companding, compand, expand
from forebay.ops.reduction.integers import to_integers
from forebay.ops.reduction.quality import saturated_fraction, select_frames, sharpness
from forebay.ops.reduction.quantising import quantise_to_noise
from forebay.ops.reduction.region import crop, mask_outside
from forebay.ops.reduction.report import Reduction, measure_reduction
from forebay.ops.reduction.sparse import sparsify
from forebay.ops.registration.channels import align_channels, fit_affine
from forebay.ops.registration.correlation import phase_correlation
from forebay.ops.registration.drift import estimate_drift
from forebay.ops.registration.shifting import correct_drift
from forebay.ops.registration.tiles import estimate_tile_offsets, stitch_tiles
from forebay.ops.scratch import scratch_bytes
from forebay.ops.series.density import welch
from forebay.ops.series.filtering import filter_series
from forebay.ops.series.matched import matched_filter_series
from forebay.ops.series.peaks import find_peaks_series
from forebay.ops.series.whitening import whiten
from forebay.ops.spectra.power import power_spectrum
from forebay.ops.spectra.radial import radial_average
from forebay.ops.spectra.ring_correlation import fourier_ring_correlation, ring_resolution
from forebay.ops.spectra.segments import coherence, spectrogram, welch_spectrum
from forebay.ops.spectra.windows import apply_window
from forebay.ops.temporal.finite import fir_filter, running_mean, running_median
from forebay.ops.temporal.recursive import (
    Continued,
    continue_iir_filter,
    exponential_filter,
    iir_filter,
)
from forebay.ops.tracks.displacement import mean_squared_displacement
from forebay.ops.tracks.linking import Linked, link

__all__ = [
    "Companding",
    "Continued",
    "FramesAccessor",
    "Linked",
    "Matches",
    "OperationError",
    "Reduction",
    "airy_psf",
    "align_channels",
    "anisotropic_diffusion",
    "apply_window",
    "background",
    "bad_pixels",
    "bandpass",
    "bilateral_filter",
    "bin_frames",
    "bin_pixels",
    "black_top_hat",
    "cell_averaging_cfar",
    "centroid",
    "closing",
    "coherence",
    "compand",
    "continue_iir_filter",
    "correct_camera",
    "correct_drift",
    "correct_photobleaching",
    "crop",
    "difference_of_gaussians",
    "dilation",
    "drop_low_bits",
    "erosion",
    "estimate_drift",
    "estimate_illumination",
    "estimate_tile_offsets",
    "expand",
    "exponential_filter",
    "filter_series",
    "find_blobs",
    "find_particles",
    "find_peaks_series",
    "fir_filter",
    "fit_affine",
    "flat_field",
    "fourier_bandpass",
    "fourier_filter",
    "fourier_ring_correlation",
    "gaussian_filter",
    "gaussian_fit",
    "gaussian_psf",
    "gibson_lanni_psf",
    "h_maxima",
    "iir_filter",
    "label",
    "laplacian_of_gaussian",
    "link",
    "local_threshold",
    "mask_outside",
    "match_points",
    "matched_filter",
    "matched_filter_series",
    "mean_change",
    "mean_squared_displacement",
    "measure_reduction",
    "measured_psf",
    "median_filter",
    "nonlocal_means",
    "opening",
    "otsu_threshold",
    "phase_correlation",
    "photon_transfer",
    "pixel_variance",
    "power_spectrum",
    "quantise_to_noise",
    "radial_average",
    "radial_symmetry",
    "region_properties",
    "remove_cosmic_rays",
    "remove_fixed_pattern",
    "replace_bad_pixels",
    "richardson_lucy",
    "ring_resolution",
    "rolling_ball",
    "running_mean",
    "running_median",
    "saturated_fraction",
    "scratch_bytes",
    "select_frames",
    "sharpness",
    "sparsify",
    "spectrogram",
    "stitch_tiles",
    "subtract_background",
    "subtract_dark",
    "to_electrons",
    "to_integers",
    "triangle_threshold",
    "unsupervised_wiener",
    "wavelet_denoise",
    "welch",
    "welch_spectrum",
    "white_top_hat",
    "whiten",
    "wiener",
]
