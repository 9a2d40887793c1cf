"""Frames of float32 give what those of float64 do, to within what the docstring says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.ops.calls import call
from tests.ops.compared import ELSEWHERE, STARTS, frames

from forebay import ops
from forebay.ops.catalogue import operations

__all__ = ["frames"]


ONLY_INTEGERS = {"compand", "drop_low_bits", "expand", "quantise_to_noise"}
ALWAYS_FLOAT64 = {"saturated_fraction", "sharpness"}
AS_IN_FLOAT64 = sorted(
    name
    for names in ELSEWHERE.values()
    for name in names - ONLY_INTEGERS - {"measure_reduction", "measured_psf", "stitch_tiles"}
    if operations()[name].tolerance is not None
)
CURVE = xr.DataArray(
    [[1.0, 0.93, 0.61, 0.38, 0.04, 0.01], [1.0, 0.8, 0.55, 0.41, 0.21, 0.1]],
    dims=("t", "freq_r"),
    coords={"freq_r": np.arange(6) / 10, "points": ("freq_r", np.arange(6) * 6 + 1)},
)
CALLED: dict[str, Callable[[xr.DataArray], Any]] = {
    "find_blobs": lambda f: ops.find_blobs(f, min_sigma=2, max_sigma=5, threshold=3),
    "find_particles": lambda f: ops.find_particles(f, diameter=11),
    "gaussian_fit": lambda f: ops.gaussian_fit(f, STARTS, radius=5),
    "label": lambda f: ops.label(ops.sparsify(f, threshold=60)),
    "phase_correlation": lambda f: ops.phase_correlation(f, f[0]),
    "radial_symmetry": lambda f: ops.radial_symmetry(f, STARTS, radius=5),
    "ring_resolution": lambda f: ops.ring_resolution(CURVE.astype(f.dtype)),
    "saturated_fraction": lambda f: ops.saturated_fraction(f, level=200),
}
"""What gives no more than a NaN, or nothing, with the parameters of `call`."""


@pytest.mark.parametrize("name", AS_IN_FLOAT64)
def test_float32_is_as_near_to_float64_as_is_said(name: str, frames: xr.DataArray) -> None:
    """Of those whose reference is in a file of its own; of tables each column."""
    operate = CALLED.get(name) or call(name)
    found, expected = (operate(frames.astype(dtype)) for dtype in ("float32", "float64"))
    if isinstance(expected, xr.DataArray):
        if expected.dtype == np.float64 and name not in ALWAYS_FLOAT64:
            assert found.dtype == np.float32
        found, expected = found.to_dataframe("value"), expected.to_dataframe("value")
    assert len(expected) == len(found) > 0
    for column in expected.select_dtypes("number"):
        limit = (operations()[name].tolerance or 0.0) * np.nanmax(abs(expected[column]))
        np.testing.assert_allclose(found[column], expected[column], rtol=0, atol=limit)


@pytest.mark.parametrize("name", sorted(ONLY_INTEGERS))
def test_what_takes_integers_says_so(name: str, frames: xr.DataArray) -> None:
    """It has no error beside what it is made for, and takes nothing else."""
    assert operations()[name].tolerance == 0
    with pytest.raises(ops.OperationError, match="dtype float32"):
        call(name)(frames.astype("float32"))
