"""How much memory operations say that they need, beside what they are seen to take."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import xarray as xr

from forebay import ops
from forebay.ops import Companding, OperationError, gaussian_psf, scratch_bytes
from forebay.ops.catalogue import operations
from forebay.ops.scratch import NEEDS, SMALL

SIDE = 160
PSF = gaussian_psf(sigma=1.5)
SECTIONS = [[0.2, 0.4, 0.2, 1, -0.4, 0.2]]

GIVEN: dict[str, dict[str, Any]] = {
    "anisotropic_diffusion": {"iterations": 2, "edge": 30},
    "apply_window": {},
    "background": {},
    "bad_pixels": {},
    "bandpass": {"background_sigma": 3},
    "bilateral_filter": {"sigma": 0.7, "value_sigma": 40},
    "bin_pixels": {"factor": 2},
    "cell_averaging_cfar": {"false_alarm_rate": 1e-3},
    "compand": {"companding": Companding(gain=1, read_noise=9), "dtype": "uint16"},
    "continue_iir_filter": {"sos": SECTIONS},
    "correct_camera": {"gain": 0.5},
    "correct_drift": {
        "drift": xr.DataArray([1.0, 0.5], dims="axis", coords={"axis": ["y", "x"]}),
        "order": 1,
    },
    "correct_photobleaching": {"method": "histogram"},
    "estimate_drift": {},
    "estimate_illumination": {"sigma": 9},
    "exponential_filter": {"alpha": 0.3},
    "filter_series": {"high": 0.2, "order": 1},
    "find_blobs": {"min_sigma": 1, "max_sigma": 3, "threshold": 60, "scales": 4},
    "find_peaks_series": {"dim": "x"},
    "find_particles": {"diameter": 11, "minmass": 300},
    "flat_field": {"flat": xr.DataArray(np.ones((SIDE, SIDE), "f4"), dims=("y", "x"))},
    "fourier_bandpass": {"min_wavelength": 4, "max_wavelength": 30},
    "gaussian_filter": {"sigma": 2},
    "h_maxima": {"h": 30},
    "laplacian_of_gaussian": {"sigma": 2},
    "local_threshold": {"size": 11},
    "matched_filter": {"template": np.ones((5, 5))},
    "median_filter": {"size": 3},
    "nonlocal_means": {"strength": 30, "search_size": 3},
    "otsu_threshold": {},
    "phase_correlation": {"reference": xr.DataArray(np.eye(SIDE, dtype="f4"), dims=("y", "x"))},
    "power_spectrum": {},
    "quantise_to_noise": {"camera": Companding(gain=1, read_noise=9)},
    "remove_cosmic_rays": {"read_noise": 3.0, "iterations": 1},
    "remove_fixed_pattern": {},
    "richardson_lucy": {"psf": PSF, "iterations": 3},
    "rolling_ball": {"radius": 12, "precision": "fast"},
    "running_mean": {"window": 3},
    "running_median": {"window": 3},
    "sharpness": {"method": "gradient"},
    "spectrogram": {"segment": 4},
    "unsupervised_wiener": {"psf": PSF},
    "wavelet_denoise": {},
    "welch": {"segment": 4},
    "white_top_hat": {"size": 5},
    "wiener": {"psf": PSF, "noise_to_signal": 0.1},
}
LOOSE = {
    "otsu_threshold",
    "background",
    "bin_pixels",
    "compand",
    "find_particles",
    "quantise_to_noise",
    "sharpness",
    "welch",
}
"""What needs less than it says in some of its ways."""


@pytest.fixture(scope="module")
def frames() -> xr.DataArray:
    """Give twelve frames of a few hundred counts with spots."""
    values = np.random.default_rng(3).poisson(200, (12, SIDE, SIDE))
    for y, x in np.random.default_rng(4).integers(12, SIDE - 12, (20, 2)):
        values[:, y - 2 : y + 3, x - 2 : x + 3] += 150
    return xr.DataArray(values.astype("uint16"), dims=("t", "y", "x"))


def peak(function: Any, frames: xr.DataArray, given: dict[str, Any]) -> int:
    """Return how many bytes more than before there are at most."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    result = function(frames, **given)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return most - before


@pytest.mark.parametrize("name", GIVEN)
def test_no_more_is_taken_than_is_said(frames: xr.DataArray, name: str) -> None:
    """Nor so much less that a worker would stand half empty."""
    function = operations()[name].function
    # What is loaded and kept for next time is not for this frame.
    function(frames, **GIVEN[name])
    taken = peak(function, frames, GIVEN[name])
    said = scratch_bytes(name, frames, **GIVEN[name])
    assert taken <= said
    if name not in LOOSE:
        assert said - SMALL <= 3 * taken


def test_beads_are_looked_at_one_by_one(frames: xr.DataArray) -> None:
    """Crops have odd sizes; of a chunk the result counts, and little beside it."""
    crops = frames[:, 1:, 1:]
    taken = peak(ops.measured_psf, crops, {"dim": "t"})
    said = scratch_bytes("measured_psf", crops, dim="t")
    assert taken <= said <= 2 * taken


def test_every_operation_says_what_it_needs() -> None:
    """There is an entry for each, and none for what is no operation."""
    assert set(NEEDS) == set(operations())


def test_chunks_count_and_not_the_whole(frames: xr.DataArray) -> None:
    """What a task holds is a chunk; what sees frames whole has them merged."""
    whole = scratch_bytes("power_spectrum", frames) - SMALL
    pieces = scratch_bytes("power_spectrum", frames.chunk({"t": 3})) - SMALL
    assert pieces < whole / 2
    cut = frames.chunk({"t": 1, "y": 10})
    assert scratch_bytes("wiener", cut, psf=PSF) == scratch_bytes("wiener", frames[:1], psf=PSF)


def test_chunks_that_borrow_in_time_hold_their_neighbours(frames: xr.DataArray) -> None:
    """One beside it where there are two, and no more than two; none beside the whole."""
    said = [
        scratch_bytes("running_median", frames[: 3 * number].chunk({"t": 3}), window=3)
        for number in (1, 2, 3, 4)
    ]
    assert said[0] == scratch_bytes("running_median", frames[:3], window=3)
    chunk = 3 * SIDE * SIDE * 4
    assert said[0] + chunk < said[1] < said[2] - chunk
    assert said[3] == pytest.approx(said[2], abs=100), "the history is longer"


def test_float64_needs_twice_as_much(frames: xr.DataArray) -> None:
    single = scratch_bytes("median_filter", frames, size=3) - SMALL
    double = scratch_bytes("median_filter", frames.astype("float64"), size=3) - SMALL
    assert double == 2 * single


def test_what_is_unknown_is_told(frames: xr.DataArray) -> None:
    with pytest.raises(OperationError, match="no operation 'bandpas' on frames"):
        ops.scratch_bytes("bandpas", frames)
    with pytest.raises(OperationError, match="bandpass has no parameter 'sigma'; it has"):
        ops.scratch_bytes("bandpass", frames, sigma=3)
    with pytest.raises(OperationError, match="frames is a ndarray"):
        ops.scratch_bytes("bandpass", frames.values)  # type: ignore[arg-type]
