"""Operations on frames: pure functions, xarray in, xarray out; NumPy or CuPy, eager or Dask.

Each takes a `xarray.DataArray` first and keeps its dimensions, coordinates, name and attributes.
On Dask-backed frames nothing is computed before the result is asked for. Work is done in float32,
or in float64 where the frames are float64; what makes frames smaller gives integers for integers
and says by how much they can be off. Whatever cannot be done raises `OperationError`.
"""

from forebay.ops.correction.background import background, subtract_background
from forebay.ops.correction.bad_pixels import bad_pixels, replace_bad_pixels
from forebay.ops.correction.cosmic_rays import remove_cosmic_rays
from forebay.ops.correction.dark import subtract_dark
from forebay.ops.correction.fixed_pattern import remove_fixed_pattern
from forebay.ops.correction.flat import flat_field
from forebay.ops.correction.illumination import estimate_illumination
from forebay.ops.correction.photobleaching import correct_photobleaching
from forebay.ops.correction.photon_transfer import photon_transfer, to_electrons
from forebay.ops.errors import OperationError
from forebay.ops.filters.bilateral import bilateral_filter
from forebay.ops.filters.diffusion import anisotropic_diffusion
from forebay.ops.filters.fourier import fourier_bandpass
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
from forebay.ops.particles.finding import find_particles
from forebay.ops.particles.matching import Matches, match_points
from forebay.ops.reduction.activity import mean_change, pixel_variance
from forebay.ops.reduction.binning import bin_pixels
from forebay.ops.reduction.bits import drop_low_bits
from forebay.ops.reduction.companding import Companding, compand, expand
from forebay.ops.reduction.integers import to_integers
from forebay.ops.reduction.region import crop, mask_outside
from forebay.ops.reduction.sparse import sparsify
from forebay.ops.spectra.power import power_spectrum
from forebay.ops.spectra.radial import radial_average
from forebay.ops.temporal.finite import fir_filter, running_mean, running_median
from forebay.ops.temporal.recursive import exponential_filter, iir_filter

__all__ = [
    "Companding",
    "Matches",
    "OperationError",
    "anisotropic_diffusion",
    "background",
    "bad_pixels",
    "bandpass",
    "bilateral_filter",
    "bin_pixels",
    "black_top_hat",
    "closing",
    "compand",
    "correct_photobleaching",
    "crop",
    "difference_of_gaussians",
    "dilation",
    "drop_low_bits",
    "erosion",
    "estimate_illumination",
    "expand",
    "exponential_filter",
    "find_particles",
    "fir_filter",
    "flat_field",
    "fourier_bandpass",
    "gaussian_filter",
    "iir_filter",
    "laplacian_of_gaussian",
    "mask_outside",
    "match_points",
    "mean_change",
    "median_filter",
    "nonlocal_means",
    "opening",
    "photon_transfer",
    "pixel_variance",
    "power_spectrum",
    "radial_average",
    "remove_cosmic_rays",
    "remove_fixed_pattern",
    "replace_bad_pixels",
    "rolling_ball",
    "running_mean",
    "running_median",
    "sparsify",
    "subtract_background",
    "subtract_dark",
    "to_electrons",
    "to_integers",
    "wavelet_denoise",
    "white_top_hat",
]
