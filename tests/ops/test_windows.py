"""Fading frames out: `apply_window`."""

from typing import Any

import numpy as np
import pytest
import scipy.signal
import xarray as xr

from forebay.ops import OperationError, apply_window
from forebay.ops.spectra.windows import COSINES, faded, window_weights


@pytest.mark.parametrize("size", [1, 2, 7, 16])
@pytest.mark.parametrize("window", COSINES)
def test_the_weights_are_scipys(window: str, size: int) -> None:
    """Each window is scipy's periodic one."""
    # Of a single point scipy makes a one, a periodic wave its lowest value.
    expected = scipy.signal.get_window(window, size) if size > 1 else window_weights(window, 2)[:1]

    np.testing.assert_allclose(window_weights(window, size), expected, atol=1e-12)


@pytest.mark.parametrize("dims", [("y", "x"), ("t",), ("x", "t", "y")])
def test_frames_are_multiplied_along_each_dimension(
    frames: xr.DataArray, dims: tuple[str, ...]
) -> None:
    """Along all dims, and no other, there is one window; lazily bit for bit the same."""
    expected = frames.astype(float)
    for dim in dims:
        weights = scipy.signal.get_window("hamming", frames.sizes[dim])
        expected = expected * xr.DataArray(weights, dims=dim)

    eager = apply_window(frames, window="hamming", dims=dims)
    lazy = apply_window(frames.chunk({"t": 3, "x": 20}), window="hamming", dims=dims)

    np.testing.assert_allclose(eager, expected, atol=1e-6 * 4000)
    np.testing.assert_array_equal(lazy.compute(), eager)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator, dtype: str) -> None:
    """The block function gives on any device what NumPy gives in float64."""
    values = rng.integers(0, 250, (2, 9, 12)).astype(dtype)

    result = xp.host(faded(xp.array(values), ndim=2, window="flattop"))

    expected = faded(values.astype(np.float64), ndim=2, window="flattop")
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)


def test_a_nan_stays_where_it_is(frames: xr.DataArray) -> None:
    """A window is a product, pixel by pixel."""
    noisy = frames.astype("f4")
    noisy[3, 4, 5] = np.nan

    assert int(apply_window(noisy).isnull().sum()) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": "box"}, "window is 'box', but must be one of 'hann'"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("z",)}, "'z' is needed"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        apply_window(frames, **parameters)
