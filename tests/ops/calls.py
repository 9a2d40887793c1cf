"""Each operation on frames, called as one would with frames of a few pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops import Companding, gaussian_psf
from forebay.ops.catalogue import operations

type Call = Callable[[Any], Any]

CAMERA = Companding(gain=0.5, read_noise=1.5, maximum=4095)
PSF = gaussian_psf(sigma=1, truncate=2)
SECTIONS = [[0.2, 0.4, 0.2, 1, -0.4, 0.2]]
DRIFT = xr.DataArray([1.0, -0.5], dims="axis", coords={"axis": ["y", "x"]})
PLACES = xr.DataArray(
    [[0, 0], [0, 4], [4, 0], [4, 4], [1, 2]], dims=("t", "axis"), coords={"axis": ["y", "x"]}
)
POSITIONS = xr.DataArray(
    [[5.2, 6.1], [7.0, 3.4]], dims=("spot", "axis"), coords={"axis": ["y", "x"]}
)


STILL = xr.DataArray(np.ones((5, 12, 13), "uint16"), dims=("t", "y", "x"))
"""What parameters are fitted to where no frames are given."""


def still(frames: xr.DataArray) -> xr.DataArray:
    """Return an image of the frames' size that fits beside them."""
    sizes = [frames.sizes.get(dim, 1) for dim in ("y", "x")]
    return xr.DataArray(np.full(sizes, 3.0, "float32"), dims=("y", "x"))


def psd(frames: xr.DataArray) -> xr.DataArray:
    """Return a level power spectral density for series of the frames' length."""
    number = frames.sizes.get("t", 1) // 2 + 1
    return xr.DataArray(
        np.full(number, 2.0), dims="freq_t", coords={"freq_t": np.linspace(0, 0.5, number)}
    )


GIVEN: dict[str, dict[str, Any]] = {
    "align_channels": {"dim": "t"},
    "anisotropic_diffusion": {"iterations": 2, "edge": 500},
    "bandpass": {"background_sigma": 2},
    "bilateral_filter": {"sigma": 0.7, "value_sigma": 500},
    "bin_frames": {"factor": 1},
    "bin_pixels": {"factor": 1},
    "black_top_hat": {"size": 3},
    "cell_averaging_cfar": {"false_alarm_rate": 0.1, "training": 2},
    "centroid": {"positions": POSITIONS, "radius": 2},
    "closing": {"size": 3},
    "coherence": {"segment": 2},
    "compand": {"companding": CAMERA},
    "continue_iir_filter": {"sos": SECTIONS},
    "correct_camera": {"gain": 0.5},
    "correct_drift": {"drift": DRIFT},
    "correct_photobleaching": {"method": "ratio"},
    "crop": {"bounds": {"y": (0, 1)}},
    "difference_of_gaussians": {"sigma": 1.5},
    "dilation": {"size": 5, "footprint": "square"},
    "drop_low_bits": {"count": 4},
    "erosion": {"size": 3},
    "estimate_illumination": {"degree": 2},
    "estimate_tile_offsets": {"nominal": PLACES, "dim": "t", "min_overlap": 2},
    "expand": {"companding": CAMERA},
    "exponential_filter": {"alpha": 0.3},
    "filter_series": {"high": 0.2, "order": 1},
    "find_blobs": {"min_sigma": 1, "max_sigma": 2, "threshold": 60, "scales": 3},
    "find_particles": {"diameter": 3},
    "fir_filter": {"taps": [0.5, 0.25]},
    "flat_field": {},
    "fourier_bandpass": {"min_wavelength": 3},
    "fourier_filter": {"kind": "low", "cutoff": 0.1},
    "gaussian_filter": {"sigma": 1},
    "gaussian_fit": {"positions": POSITIONS, "radius": 2},
    "h_maxima": {"h": 30},
    "iir_filter": {"sos": SECTIONS},
    "laplacian_of_gaussian": {"sigma": 1},
    "local_threshold": {"size": 5},
    "mask_outside": {"bounds": {"y": (0, 1)}},
    "matched_filter": {"template": np.ones((3, 3)), "training": 2},
    "matched_filter_series": {"template": np.ones(2)},
    "measured_psf": {"dim": "t"},
    "median_filter": {"size": 3},
    "nonlocal_means": {"strength": 800, "patch_size": 3, "search_size": 3},
    "opening": {"size": 5},
    "photon_transfer": {},
    "quantise_to_noise": {"camera": CAMERA},
    "radial_average": {"dims": ("y", "x")},
    "radial_symmetry": {"positions": POSITIONS, "radius": 2},
    "remove_cosmic_rays": {"read_noise": 100, "iterations": 1},
    "richardson_lucy": {"psf": PSF, "iterations": 3},
    "rolling_ball": {"radius": 3},
    "running_mean": {"window": 3},
    "running_median": {"window": 3},
    "saturated_fraction": {"level": 3900},
    "sparsify": {"threshold": 700},
    "spectrogram": {"segment": 2},
    "stitch_tiles": {"dim": "t"},
    "to_electrons": {"gain": 0.5},
    "to_integers": {"dtype": "uint8"},
    "unsupervised_wiener": {"psf": PSF},
    "wavelet_denoise": {"levels": 1},
    "welch": {"segment": 2},
    "welch_spectrum": {"segment": 2},
    "white_top_hat": {"size": 5},
    "wiener": {"psf": PSF, "noise_to_signal": 0.1},
}
"""Parameters that are the same whatever the frames are."""

FITTED: dict[str, Callable[[xr.DataArray], dict[str, Any]]] = {
    "coherence": lambda frames: {"other": frames},
    "flat_field": lambda frames: {"flat": still(frames)},
    "matched_filter_series": lambda frames: {"density": psd(frames)},
    "mean_change": lambda frames: {"reference": still(frames)},
    "measure_reduction": lambda frames: {"reduced": frames},
    "phase_correlation": lambda frames: {"reference": still(frames)},
    "photon_transfer": lambda frames: {"dark": still(frames)},
    "replace_bad_pixels": lambda frames: {"bad": still(frames) > 9},
    "select_frames": lambda frames: {
        "keep": xr.DataArray([True] * frames.sizes.get("t", 1), dims="t")
    },
    "stitch_tiles": lambda frames: {"offsets": PLACES[: frames.sizes.get("t", 1)] + 0.5},
    "subtract_background": lambda frames: {"background": still(frames)},
    "subtract_dark": lambda frames: {"dark": still(frames)},
}
"""Parameters that hang on the frames."""


def call(name: str) -> Call:
    """Return an operation with its parameters."""

    def called(frames: Any) -> Any:
        beside = frames if isinstance(frames, xr.DataArray) else STILL
        fitted = FITTED[name](beside) if name in FITTED else {}
        return operations()[name].function(frames, **GIVEN.get(name, {}), **fitted)

    return called
