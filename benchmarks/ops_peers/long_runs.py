"""Each operation of the catalogue as it is called on a long run, whatever the length."""

import functools
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.signal
import xarray as xr

from forebay import ops

type Frames = xr.DataArray

BEAD = 33
"""Side of a crop with a bead, pixels."""
CAMERA = ops.Companding(gain=0.5, read_noise=1.5, maximum=4095)
DRIFT = xr.DataArray([1.0, -0.5], dims="axis", coords={"axis": ["y", "x"]})
MEAN = 400
"""Counts of the frames."""
PSF = ops.gaussian_psf(sigma=1.5)
SECTIONS = scipy.signal.butter(4, 0.2, output="sos")
SPOTS = 64
"""Positions that are measured in each frame."""
TILES = 4
"""Tiles that make a mosaic."""

GIVEN: dict[str, dict[str, Any]] = {
    "align_channels": {"dim": "t"},
    "anisotropic_diffusion": {"iterations": 5, "edge": 30},
    "bandpass": {"background_sigma": 5},
    "bilateral_filter": {"sigma": 1, "value_sigma": 40},
    "bin_frames": {"factor": 4},
    "bin_pixels": {"factor": 2},
    "black_top_hat": {"size": 11},
    "cell_averaging_cfar": {"false_alarm_rate": 1e-3},
    "closing": {"size": 5},
    "coherence": {"segment": 8},
    "compand": {"companding": CAMERA},
    "continue_iir_filter": {"sos": SECTIONS},
    "correct_drift": {"drift": DRIFT},
    "crop": {"bounds": {"y": (0, 60), "x": (0, 60)}},
    "difference_of_gaussians": {"sigma": 2},
    "dilation": {"size": 5},
    "drop_low_bits": {"count": 4},
    "erosion": {"size": 5},
    "estimate_illumination": {"sigma": 6},
    "estimate_tile_offsets": {"dim": "t"},
    "expand": {"companding": CAMERA},
    "exponential_filter": {"alpha": 0.3},
    "filter_series": {"high": 0.2},
    "find_blobs": {"min_sigma": 1, "max_sigma": 3, "threshold": 200, "scales": 3},
    "find_particles": {"diameter": 11, "minmass": 2000},
    "find_peaks_series": {"prominence": 38},
    "fir_filter": {"taps": [0.5, 0.3, 0.2]},
    "fourier_bandpass": {"min_wavelength": 4, "max_wavelength": 30},
    "fourier_filter": {"kind": "low", "cutoff": 0.1},
    "gaussian_filter": {"sigma": 2},
    "h_maxima": {"h": 38},
    "iir_filter": {"sos": SECTIONS},
    "laplacian_of_gaussian": {"sigma": 2},
    "local_threshold": {"size": 31},
    "mask_outside": {"bounds": {"y": (0, 60)}},
    "matched_filter": {"template": np.ones((5, 5))},
    "measured_psf": {"dim": "t"},
    "median_filter": {"size": 5},
    "nonlocal_means": {"strength": 30, "search_size": 5},
    "opening": {"size": 5},
    "quantise_to_noise": {"camera": CAMERA},
    "radial_average": {},
    "remove_cosmic_rays": {"read_noise": 3.0, "iterations": 2},
    "richardson_lucy": {"psf": PSF, "iterations": 5},
    "rolling_ball": {"radius": 12, "precision": "fast"},
    "running_mean": {"window": 5},
    "running_median": {"window": 3},
    "saturated_fraction": {"level": 4095},
    "sparsify": {"threshold": MEAN},
    "spectrogram": {"segment": 8},
    "to_electrons": {"gain": 0.45},
    "to_integers": {"dtype": "uint8"},
    "unsupervised_wiener": {"psf": PSF},
    "welch": {"segment": 8},
    "welch_spectrum": {"segment": 8},
    "white_top_hat": {"size": 11},
    "whiten": {"segment": 8},
    "wiener": {"psf": PSF, "noise_to_signal": 0.1},
}
"""Parameters that are the same whatever the frames are."""


def image(frames: Frames) -> Frames:
    """Return an image that lies on the frames."""
    sides = [frames.sizes[dim] for dim in ("y", "x")]
    return xr.DataArray(
        np.linspace(90, 110, np.prod(sides), dtype="f4").reshape(sides), dims=("y", "x")
    )


def spots(frames: Frames) -> pd.DataFrame:
    """Return the same positions in each frame."""
    number, side = frames.sizes["t"], min(frames.sizes["y"], frames.sizes["x"])
    places = np.random.default_rng(2).uniform(9, side - 10, (SPOTS, 2))
    table = pd.DataFrame(np.tile(places, (number, 1)), columns=["y", "x"])
    return table.assign(t=np.repeat(np.arange(number), SPOTS))


def in_a_row(frames: Frames) -> Frames:
    """Return where tiles lie that have a quarter in common with the next."""
    number, side = frames.sizes.get("tile", frames.sizes["t"]), frames.sizes["x"]
    dim = "tile" if "tile" in frames.dims else "t"
    places = np.stack([np.zeros(number), np.arange(number) * (side * 3 // 4)], axis=1)
    return xr.DataArray(places, dims=(dim, "axis"), coords={"axis": ["y", "x"]})


def white(frames: Frames) -> Frames:
    """Return the density of noise that is the same at each frequency."""
    number = frames.sizes["t"] // 2 + 1
    at = {"freq_t": np.linspace(0, 0.5, number)}
    return xr.DataArray(np.full(number, 2.0), dims="freq_t", coords=at)


FITTED: dict[str, Callable[[Frames], dict[str, Any]]] = {
    "centroid": lambda frames: {"positions": spots(frames), "radius": 4},
    "coherence": lambda frames: {"other": frames[:, ::-1]},
    "correct_camera": lambda frames: {"flat": image(frames), "gain": 0.5, "dtype": "uint16"},
    "estimate_tile_offsets": lambda frames: {"nominal": in_a_row(frames)},
    "flat_field": lambda frames: {"flat": image(frames)},
    "gaussian_fit": lambda frames: {"positions": spots(frames), "radius": 4},
    "matched_filter_series": lambda frames: {
        "template": xr.DataArray([1.0, -2.0, 1.5, 0.5], dims="t"),
        "density": white(frames),
    },
    "mean_change": lambda frames: {"reference": image(frames)},
    "measure_reduction": lambda frames: {"reduced": ops.drop_low_bits(frames, count=3)},
    "phase_correlation": lambda frames: {"reference": image(frames)},
    "photon_transfer": lambda frames: {"dark": frames // 8},
    "radial_symmetry": lambda frames: {"positions": spots(frames), "radius": 4},
    "replace_bad_pixels": lambda frames: {"bad": image(frames) > 109.99},
    "select_frames": lambda frames: {
        "keep": xr.DataArray(np.arange(frames.sizes["t"]) % 2 == 0, dims="t")
    },
    "stitch_tiles": lambda frames: {"offsets": in_a_row(frames)},
    "subtract_background": lambda frames: {"background": image(frames)},
    "subtract_dark": lambda frames: {"dark": image(frames)},
}
"""Parameters that hang on the frames."""


def curves(frames: Frames) -> Frames:
    """Return a line of each frame as if it were the correlation over rings."""
    curve = (frames[:, 0] * np.float32(1 / 4096)).rename(x="freq_r")
    at = np.linspace(0, 0.5, curve.sizes["freq_r"])
    points = ("freq_r", np.arange(curve.sizes["freq_r"]) + 1)
    return curve.assign_coords(freq_r=at, points=points)


SHAPED: dict[str, Callable[[Frames], Frames]] = {
    "estimate_tile_offsets": lambda frames: frames[:TILES],
    "expand": lambda frames: ops.compand(frames, companding=CAMERA),
    "label": lambda frames: frames > MEAN + 15,
    "measured_psf": lambda frames: frames[:, :BEAD, :BEAD],
    "radial_average": ops.power_spectrum,
    "region_properties": lambda frames: ops.label(frames > MEAN + 19),
    "ring_resolution": curves,
    "stitch_tiles": lambda frames: xr.DataArray(
        frames.data.reshape(-1, TILES, *frames.shape[1:]), dims=("t", "tile", "y", "x")
    ),
}
"""What is not done on the frames themselves."""


def called(name: str, frames: Frames) -> tuple[Frames, dict[str, Any]]:
    """Return what an operation is done on, and its parameters."""
    own = SHAPED[name](frames) if name in SHAPED else frames
    fitted = FITTED[name](own) if name in FITTED else {}
    return own, GIVEN.get(name, {}) | fitted


def made(block: npt.NDArray[np.uint16], block_id: tuple[int, ...] = ()) -> npt.NDArray[np.uint16]:
    """Return a block of frames of some noise, a little brighter at each place."""
    return noise(block.shape) + np.uint16((block_id[0] if block_id else 0) % 7)


@functools.cache
def noise(shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    """Return noise about the mean, always the same."""
    return np.random.default_rng(0).integers(MEAN - 20, MEAN + 20, shape, dtype=np.uint16)


def run(blocks: int, block: int, side: int) -> Frames:
    """Return frames that are made when they are asked for."""
    shape = (blocks * block, side, side)
    nothing = da.zeros(shape, dtype=np.uint16, chunks=(block, side, side))
    return xr.DataArray(nothing.map_blocks(made, dtype=np.uint16), dims=("t", "y", "x"))
