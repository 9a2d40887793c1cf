"""Several pixels in one: `bin_pixels`."""

from fractions import Fraction
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay.ops import OperationError, bin_pixels
from forebay.ops.reduction.binning import bin_types, binned

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


def sums(values: npt.NDArray[Any], factor: tuple[int, int]) -> npt.NDArray[Any]:
    """Return the sum of each bin as scipy has it, which is given a number for each; exact."""
    height, width = values.shape[-2] // factor[0], values.shape[-1] // factor[1]
    labels = np.kron(np.arange(height * width).reshape(height, width), np.ones(factor, int))
    totals = [
        scipy.ndimage.sum_labels(frame.astype(float), labels, np.arange(height * width))
        for frame in values.reshape(-1, *values.shape[-2:])
    ]
    return np.reshape(totals, (*values.shape[:-2], height, width))


@st.composite
def stacks(draw: st.DrawFn, dtypes: list[str] = INTEGERS) -> tuple[xr.DataArray, tuple[int, int]]:
    """Draw integer frames with all values that there are, and factors that fit them."""
    factor = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shape = draw(st.integers(1, 2)), *(n * draw(st.integers(1, 3)) for n in factor)
    dtype: np.dtype[Any] = np.dtype(draw(st.sampled_from(dtypes)))
    ends = np.iinfo(dtype)
    corners = st.sampled_from([ends.min, ends.max, ends.max - 1, 0, 1])
    values = draw(hnp.arrays(dtype, shape, elements=st.integers(ends.min, ends.max) | corners))
    return xr.DataArray(values, dims=("t", "y", "x")), factor


@given(stacks())
def test_sums_are_exact_by_default(drawn: tuple[xr.DataArray, tuple[int, int]]) -> None:
    """The type of the sum is large enough, whatever the pixels are."""
    frames, factor = drawn

    result = bin_pixels(frames, factor=factor, method="sum")

    np.testing.assert_array_equal(result.values, np.asarray(sums(frames.values, factor), int))


@given(stacks(), st.sampled_from(INTEGERS))
def test_sums_saturate_in_a_type_that_is_given(
    drawn: tuple[xr.DataArray, tuple[int, int]], dtype: str
) -> None:
    """Where a sum is beyond the type that was asked for, the end of the type stands in its place."""
    frames, factor = drawn
    ends = np.iinfo(dtype)

    result = bin_pixels(frames, factor=factor, method="sum", dtype=dtype)

    assert result.dtype == dtype
    expected = np.clip(np.asarray(sums(frames.values, factor), int), ends.min, ends.max)
    np.testing.assert_array_equal(result.values, expected)


@given(stacks())
def test_a_mean_is_the_nearest_integer_and_of_two_the_even_one(
    drawn: tuple[xr.DataArray, tuple[int, int]],
) -> None:
    """Means keep the type of the frames; Python's own fractions round in the same way."""
    frames, factor = drawn

    result = bin_pixels(frames, factor=factor)

    assert result.dtype == frames.dtype
    count = factor[0] * factor[1]
    exact = [Fraction(int(total), count) for total in sums(frames.values, factor).ravel()]
    assert result.values.ravel().tolist() == [round(mean) for mean in exact]
    assert all(abs(got - mean) <= 0.5 for got, mean in zip(result.values.flat, exact, strict=True))


def test_a_mean_of_the_brightest_pixels_does_not_wrap() -> None:
    """Of 257 bytes the sum is the last of 16 bits, and what is added to round it is beyond them."""
    frames = xr.DataArray(np.full((1, 257, 2), 255, "uint8"), dims=("t", "y", "x"))

    result = bin_pixels(frames, factor=(257, 1))

    assert result.values.tolist() == [[[255, 255]]]


def test_rounding_adds_no_bias(rng: np.random.Generator) -> None:
    """The mean over many bins is that of the pixels, to well below what rounding up would add."""
    values = rng.integers(0, 4096, (1, 1000, 1000), dtype=np.uint16)

    result = bin_pixels(xr.DataArray(values, dims=("t", "y", "x")), factor=2)

    assert abs(result.values.mean(dtype=float) - values.mean(dtype=float)) < 0.01


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("method", ["mean", "sum"])
def test_floats_are_as_near_as_floats_are(
    rng: np.random.Generator, dtype: str, method: Any
) -> None:
    """Float frames stay floats; the error is that of six additions."""
    values = rng.normal(size=(2, 9, 8)).astype(dtype)
    frames = xr.DataArray(values, dims=("t", "y", "x"))

    result = bin_pixels(frames, factor=(3, 2), method=method)

    exact = sums(values.astype(float), (3, 2)).astype(float) / (6 if method == "mean" else 1)
    assert result.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(result, exact, atol=10 * np.finfo(result.dtype).eps)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
@pytest.mark.parametrize("method", ["mean", "sum"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, dtype: str, method: Any
) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = rng.integers(0, 120, (2, 6, 8)).astype(dtype)
    types = tuple(kind.name for kind in bin_types(values.dtype, (3, 4), method, None))
    options: dict[str, Any] = {"factors": {1: 3, 2: 4}, "method": method, "types": types}

    result = xp.host(binned(xp.array(values), **options))

    expected = bin_pixels(xr.DataArray(values, dims=("t", "y", "x")), factor=(3, 4), method=method)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == expected.dtype


def test_a_bin_lies_in_the_middle_of_its_pixels(frames: xr.DataArray) -> None:
    """Coordinates of y and x have the mean of each bin, the others are as they were."""
    named = frames.assign_coords(
        row=("y", [f"r{row}" for row in range(30)]),
        mask=(("y", "x"), np.zeros((30, 41), bool)),
        seconds=("y", np.arange(30).astype("m8[s]")),
    ).isel(x=slice(0, 40))

    result = bin_pixels(named, factor=(3, 4))

    np.testing.assert_allclose(result.y, 0.5 * (1 + 3 * np.arange(10)))
    np.testing.assert_allclose(result.x, 0.5 * (1.5 + 4 * np.arange(10)))
    assert result.y.attrs == {"units": "µm"}
    assert result.row.values[:2].tolist() == ["r0", "r3"]
    assert result.mask.shape == (10, 10)
    assert result.seconds.values[1] == np.timedelta64(4, "s")
    xr.testing.assert_identical(result.frame_id, frames.frame_id)
    assert result.attrs == frames.attrs
    assert result.name == frames.name
    assert result.encoding == {}


@pytest.mark.parametrize(
    "chunks", [{"t": 2}, {"y": 6, "x": 10}, {"y": 7, "x": (1, 39)}, {"y": (3, 4, 23)}]
)
def test_chunks_of_any_size_give_the_same(frames: xr.DataArray, chunks: dict[str, Any]) -> None:
    """Chunks that tear a bin are merged, lazily; others stay apart."""
    whole = frames.isel(x=slice(0, 40))
    lazy = whole.chunk(chunks).assign_coords(gain=(("y", "x"), np.ones((30, 40))))
    lazy = lazy.assign_coords(gain=lazy.gain.chunk({"y": 4}))

    with dask.config.set(scheduler="no such scheduler"):
        result = bin_pixels(lazy, factor=(3, 5))

    assert set(result.chunksizes) == {"t", "y", "x"}  # raises where coordinates are cut otherwise
    assert len(result.chunksizes["y"]) == (5 if chunks.get("y") == 6 else 1)
    xr.testing.assert_equal(result.drop_vars("gain").compute(), bin_pixels(whole, factor=(3, 5)))


def test_other_dimensions_can_be_binned(frames: xr.DataArray) -> None:
    """The dimensions are the caller's choice, in whatever order they lie."""
    turned = frames.isel(t=slice(0, 6)).transpose("x", "y", "t")

    result = bin_pixels(turned, factor=(3, 5), dims=("t", "y"), method="sum")

    assert result.dims == ("x", "y", "t")
    expected = sums(frames.values[:6].transpose(2, 0, 1), (3, 5))
    np.testing.assert_array_equal(result.transpose("x", "t", "y"), expected.astype(int))


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        ({}, {"factor": 4}, "30 pixels along 'y', which is no multiple of 4; crop 'y' to 28 first"),
        ({}, {"factor": (2, 64)}, "41 pixels along 'x', which is no multiple of 64; use a factor"),
        ({}, {"factor": 0}, "factor is 0"),
        ({}, {"factor": (1, 2, 3)}, "must be one number, or height and width"),
        ({}, {"factor": 2.0}, "factor is 2.0"),
        ({}, {"factor": 2**11}, "more than 1048576 pixels"),
        ({}, {"factor": 1, "method": "median"}, "method is 'median'"),
        ({}, {"factor": 1, "dtype": "float32"}, "must be an integer type"),
        ({}, {"factor": 1, "dtype": "u9"}, "must be an integer type"),
        ({"dtype": "float32"}, {"factor": 1, "dtype": "uint8"}, "stays a float"),
        ({"dtype": "uint64"}, {"factor": 1}, "whose sums can overflow"),
        ({}, {"factor": 1, "dims": ("y", "z")}, "'z' is needed"),
    ],
)
def test_what_cannot_be_binned_is_refused(
    frames: xr.DataArray, change: Any, parameters: dict[str, Any], message: str
) -> None:
    """The error names what does not fit, with its value and a way out."""
    with pytest.raises(OperationError, match=message):
        bin_pixels(frames.astype(change.get("dtype", "uint16")), **parameters)
