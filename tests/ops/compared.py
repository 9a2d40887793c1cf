"""Frames to compare operations on, and where those are that are compared elsewhere."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

DATA = Path(__file__).parents[2] / "examples" / "data" / "bulk_water"


@pytest.fixture(scope="module", params=["random", "real"])
def frames(request: pytest.FixtureRequest) -> xr.DataArray:
    """Give twelve frames of 45 × 52 pixels: of noise, or three real ones at four places each."""
    if request.param == "random":
        values = np.random.default_rng(8).integers(20, 60_000, (12, 45, 52), dtype="uint16")
    else:
        files = [np.asarray(Image.open(file)) for file in sorted(DATA.glob("*.png"))[:3]]
        places = [(40, 60), (140, 200), (200, 80), (300, 420)]
        values = np.stack(
            [np.atleast_3d(f)[y : y + 45, x : x + 52, 0] for y, x in places for f in files]
        )
    return xr.DataArray(values, dims=("t", "y", "x"))


STARTS = pd.DataFrame({"t": range(12), "y": [20] * 12, "x": [20] * 12})
ELSEWHERE = {
    "test_filters_on_real_frames": {
        "bad_pixels",
        "correct_photobleaching",
        "difference_of_gaussians",
        "estimate_illumination",
        "gaussian_filter",
        "median_filter",
        "nonlocal_means",
        "remove_cosmic_rays",
        "remove_fixed_pattern",
        "replace_bad_pixels",
        "rolling_ball",
        "wavelet_denoise",
        "white_top_hat",
    },
    "test_quality_and_quantising": {
        "compand",
        "drop_low_bits",
        "expand",
        "measure_reduction",
        "quantise_to_noise",
        "saturated_fraction",
        "select_frames",
        "sharpness",
    },
    "test_detection_on_real_frames": {"find_particles"},
    "test_find_blobs": {"find_blobs"},
    "test_label": {"label"},
    "test_phase_correlation": {"correct_drift", "estimate_drift", "phase_correlation"},
    "test_real_spheres": {"align_channels", "gaussian_fit", "measured_psf", "radial_symmetry"},
    "test_richardson_lucy": {"richardson_lucy"},
    "test_ring_correlation": {"fourier_ring_correlation", "ring_resolution"},
    "test_stitching": {"estimate_tile_offsets", "stitch_tiles"},
    "test_thresholds": {"local_threshold", "otsu_threshold", "triangle_threshold"},
    "test_wiener": {"unsupervised_wiener", "wiener"},
}
"""Files in which operations are done on real frames."""
