"""Whatever is given, every operation says what is wrong, or gives the same lazily as eagerly."""

from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.ops.calls import call

from forebay.ops import OperationError, Reduction
from forebay.ops.catalogue import operations

TINY = {"t": 5, "y": 2, "x": 5}
"""Chunks smaller than most kernels, and than what is borrowed from neighbours."""
PARTS = {"t": 3, "y": 12, "x": 8}
"""Chunks that cut through frames, and through time."""
ANY_DIMS = {
    "compand",
    "correct_camera",
    "drop_low_bits",
    "expand",
    "measure_reduction",
    "quantise_to_noise",
    "sparsify",
    "to_electrons",
    "to_integers",
}
"""What works on each pixel by itself, whatever its dimensions are called."""


def numbers(dtype: str) -> xr.DataArray:
    """Return five small frames, with something to see."""
    values = np.random.default_rng(3).integers(100, 200, (5, 12, 13))
    values[:, 4:7, 5:8] += 1500
    return xr.DataArray(values.astype(dtype), dims=("t", "y", "x"), name="intensity")


def with_value(value: float, at: Any) -> xr.DataArray:
    """Return such frames with another value at a place."""
    frames = numbers("float32")
    frames[at] = value
    return frames


def full(dtype: str, value: int) -> xr.DataArray:
    """Return frames of one value."""
    return numbers("uint16").copy(data=np.full((5, 12, 13), value, dtype))


ODD: dict[str, Callable[[], xr.DataArray]] = {
    "small chunks": lambda: numbers("uint16"),
    "one pixel": lambda: numbers("uint16")[:, :1, :1],
    "one row": lambda: numbers("uint16")[:, :1],
    "one frame": lambda: numbers("uint16")[:1],
    "a frame of NaN": lambda: with_value(np.nan, 1),
    "nothing but NaN": lambda: with_value(np.nan, slice(None)),
    "a NaN": lambda: with_value(np.nan, (2, 4, 5)),
    "an infinite pixel": lambda: with_value(np.inf, (2, 4, 5)),
    "nothing but zeros": lambda: full("uint16", 0),
    "the largest uint16": lambda: full("uint16", 65_535),
    "the least int16": lambda: full("int16", -32_768),
    "the largest int64": lambda: full("int64", 2**63 - 1),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "no DataArray": lambda: numbers("uint16").values,
    "complex": lambda: numbers("complex64"),
    "no frames": lambda: numbers("uint16")[:0],
    "no pixels": lambda: numbers("uint16")[:, :, :0],
    "other dims": lambda: numbers("uint16").rename(t="u", y="v", x="w"),
}


def no_scheduler(*_: Any, **__: Any) -> None:
    """Stand in for a Dask scheduler where nothing may be computed."""
    raise AssertionError("something was computed while the graph was built")


def parts(result: Any) -> Iterator[Any]:
    """Give the arrays that make a result, computed."""
    if isinstance(result, tuple):
        for each in result:
            yield from parts(each)
    elif isinstance(result, xr.Dataset):
        yield from (each.values for each in result.compute().values())
    elif isinstance(result, pd.DataFrame):
        # In the order of the chunks, lazily.
        yield result.sort_values(list(result.columns)).to_numpy(dtype=float)
    elif isinstance(result, xr.DataArray):
        yield result.compute().values
    elif isinstance(result, Reduction):
        # What is stored hangs on the chunks that are compressed.
        yield np.array([result.bytes_in, result.bytes_out, result.max_error])
    else:
        computed = result.compute() if hasattr(result, "compute") else result
        yield from parts(computed) if isinstance(computed, pd.DataFrame) else [computed]


def outcome(function: Callable[[Any], Any], frames: Any) -> Any:
    """Return what comes of an operation: arrays, or the message of its error."""
    try:
        return list(parts(function(frames)))
    except OperationError as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(operations()))
def test_odd_frames_are_the_same_lazily_as_eagerly(name: str) -> None:
    """The same values, or the same words; a warning of NumPy's is an error here as well.

    But of infinities, which are worked with as IEEE 754 has it.
    """
    function, wrong = call(name), []
    for kind, made in ODD.items():
        frames = made()
        with np.errstate(invalid="ignore" if "infinite" in kind else "warn"):
            eager = outcome(function, frames)
            lazy = outcome(function, frames.chunk(TINY if kind == "small chunks" else PARTS))
        if isinstance(eager, str) or isinstance(lazy, str):
            if eager != lazy:
                wrong.append((kind, eager, lazy))
            continue
        for one, other in zip(lazy, eager, strict=True):
            largest = np.nanmax(abs(np.asarray(other, float)), initial=0, where=np.isfinite(other))
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * largest, err_msg=kind)
    assert not wrong


@pytest.mark.parametrize("name", sorted(operations()))
def test_what_is_no_stack_of_frames_is_refused(name: str) -> None:
    """With a reason in one line, eagerly, and lazily when the graph is built."""
    for kind, made in REFUSED.items():
        if kind == "other dims" and name in ANY_DIMS:
            continue
        given = made()
        with pytest.raises(OperationError) as eagerly:
            call(name)(given)
        assert "\n" not in str(eagerly.value), kind
        if isinstance(given, xr.DataArray):
            with (
                dask.config.set(scheduler=no_scheduler),
                pytest.raises(OperationError) as lazily,
            ):
                call(name)(given.chunk())
            assert str(lazily.value) == str(eagerly.value), kind
