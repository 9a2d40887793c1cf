"""Losses of which the most is known: `to_integers`, `drop_low_bits`, `sparsify`."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay.ops import OperationError, drop_low_bits, sparsify, to_integers
from forebay.ops.pointwise.formulas import flattened, rounded, without_low_bits
from forebay.ops.reduction.sparse import background_limits

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]

integer_arrays = st.sampled_from(INTEGERS).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        (2, 8),
        elements=st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)
        | st.sampled_from([np.iinfo(dtype).min, np.iinfo(dtype).max]),
    )
)
float_arrays = st.sampled_from([16, 32, 64]).flatmap(
    lambda bits: hnp.arrays(f"float{bits}", (2, 8), elements=st.floats(width=bits))  # type: ignore[arg-type]
)


def image(values: npt.NDArray[Any]) -> xr.DataArray:
    """Return values as a frame."""
    return xr.DataArray(values, dims=("y", "x"))


@given(integer_arrays | float_arrays, st.sampled_from(INTEGERS))
def test_rounding_is_pythons_and_ends_where_the_type_ends(
    values: npt.NDArray[Any], dtype: str
) -> None:
    """Each pixel is rounded as Python rounds it, held within the type, and 0 where it is NaN."""
    ends = np.iinfo(dtype)
    result = to_integers(image(values), dtype=dtype)

    assert result.dtype == dtype
    for value, got in zip(values.ravel().tolist(), result.values.ravel().tolist(), strict=True):
        if np.isnan(value):
            assert got == 0
            continue
        expected = max(ends.min, min(ends.max, round(value) if np.isfinite(value) else value))
        # The end of a type of 32 or 64 bits need not be a float: the last one before it is taken.
        reach = 2 ** (ends.bits - 24) if values.dtype.itemsize < 8 else 2 ** (ends.bits - 53)
        slack = reach if values.dtype.kind == "f" and abs(got) >= 2**24 else 0
        assert abs(got - expected) <= slack
        assert ends.min <= got <= ends.max


@given(integer_arrays, st.integers(0, 63))
def test_no_pixel_changes_by_more_than_half_of_what_is_dropped(
    values: npt.NDArray[Any], count: int
) -> None:
    """The error is at most 2^(count-1); what is left is a multiple of 2^count, or saturated."""
    assume(count < 8 * values.dtype.itemsize)
    top = int(np.iinfo(values.dtype).max)

    result = drop_low_bits(image(values), count=count)

    assert result.dtype == values.dtype
    for value, got in zip(values.ravel().tolist(), result.values.ravel().tolist(), strict=True):
        assert 2 * abs(value - got) <= (2**count if count else 0)
        assert got % 2**count == 0 or got == top
        assert got == min(top, 2**count * round(value / 2**count)) or abs(value) >= 2**53
    np.testing.assert_array_equal(drop_low_bits(result, count=count), result)


def test_dropping_bits_adds_no_bias() -> None:
    """Over all values of a type but the saturated ones the mean stays what it was."""
    values = np.arange(0, 65_520, dtype=np.uint16)[np.newaxis]

    result = drop_low_bits(image(values), count=4)

    assert abs(result.values.mean(dtype=float) - values.mean(dtype=float)) < 0.01


@given(
    integer_arrays,
    st.floats(1e-3, 1e5),
    st.data(),
)
def test_a_pixel_changes_by_less_than_the_threshold(
    values: npt.NDArray[Any], threshold: float, data: st.DataObject
) -> None:
    """A pixel nearer to the background than the threshold becomes it; no other changes."""
    background = data.draw(st.sampled_from(values.ravel().tolist()))
    assume(abs(background) < 2**50)

    result = sparsify(image(values), threshold=threshold, background=background)

    assert result.dtype == values.dtype
    for value, got in zip(values.ravel().tolist(), result.values.ravel().tolist(), strict=True):
        assert got == (background if abs(value - background) < threshold else value)


@given(float_arrays, st.floats(1e-2, 1e3), st.floats(-100, 100))
@example(values=np.ones((1, 2)), threshold=1.0, background=1.5e-118)
@example(values=np.ones((1, 2)), threshold=1.0, background=-1.5e-118)
def test_floats_change_by_less_than_the_threshold_too(
    values: npt.NDArray[Any], threshold: float, background: float
) -> None:
    """The bound holds for floats, where the background is rounded to their type; NaN stays."""
    centre = values.dtype.type(background)

    result = sparsify(image(values), threshold=threshold, background=float(centre)).values

    assert result.dtype == values.dtype
    # In exact numbers: a difference of floats may be rounded to the threshold itself.
    near = [
        math.isfinite(value) and abs(Fraction(value) - Fraction(float(centre))) < threshold
        for value in values.ravel().tolist()
    ]
    expected = np.where(np.reshape(near, values.shape), centre, values)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_they_are_the_same_in_each_library(xp: Any, rng: np.random.Generator, dtype: str) -> None:
    """The block functions give on any device what the operations give in NumPy."""
    values = rng.integers(0, 255, (2, 9)).astype(dtype) + np.dtype(dtype).type(0.5)
    given = xp.array(values)

    low, high = background_limits(values.dtype, 20, 100)
    np.testing.assert_array_equal(
        xp.host(flattened(given, low=low, high=high, background=100, dtype=dtype)),
        sparsify(image(values), threshold=20, background=100),
    )
    np.testing.assert_array_equal(
        xp.host(rounded(given, least=0, most=127, dtype="int8")),
        to_integers(image(values), dtype="int8").clip(min=0),
    )
    if dtype != "float32":
        np.testing.assert_array_equal(
            xp.host(without_low_bits(given, count=3, top=np.iinfo(dtype).max, dtype=dtype)),
            drop_low_bits(image(values), count=3),
        )


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda frames: to_integers(frames, dtype="float32"), "must be an integer type"),
        (lambda frames: to_integers(frames, dtype="no type"), "dtype is .no type., but"),
        (lambda frames: drop_low_bits(frames, count=16), "has 16 bits, of which one must remain"),
        (lambda frames: drop_low_bits(frames, count=-1), "count is -1"),
        (lambda frames: drop_low_bits(frames * 0.5, count=1), "integers only"),
        (lambda frames: sparsify(frames, threshold=0), "threshold is 0"),
        (lambda frames: sparsify(frames, threshold=np.nan), "threshold is nan"),
        (lambda frames: sparsify(frames, threshold=1, background=0.5), "background is 0.5"),
        (lambda frames: sparsify(frames, threshold=1, background=-1), "from 0 to 65535"),
    ],
)
def test_bad_parameters_are_named(frames: xr.DataArray, operation: Any, message: str) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        operation(frames)
