"""Mean and variance of pixels over a run, and what is held for them however long it is."""

import tracemalloc
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from forebay.ops import scratch_bytes
from forebay.ops._moments import mean_along, moments_along
from forebay.ops.catalogue import operations

SIDE, BLOCK = 256, 2


@pytest.mark.parametrize("dim", ["channel", "t", "x"])
@pytest.mark.parametrize("chunks", [None, {"t": 4, "y": 10}, {"t": 1}])
def test_moments_are_those_of_numpy(dim: str, chunks: dict[str, int] | None) -> None:
    """Along any dimension, however it is cut, and of bright frames with little contrast."""
    values = np.random.default_rng(0).integers(60_000, 60_020, (3, 37, 20, 24), dtype="uint16")
    frames = xr.DataArray(values, dims=("channel", "t", "y", "x"), attrs={"units": "count"})
    given = frames if chunks is None else frames.chunk(chunks)
    mean, variance = moments_along(given, dim)
    wide = frames.astype("float64")
    assert mean.chunks is None if chunks is None else mean.chunks
    np.testing.assert_allclose(mean, wide.mean(dim), rtol=1e-14)
    np.testing.assert_allclose(variance, wide.var(dim, ddof=1), rtol=1e-11)
    np.testing.assert_allclose(mean_along(given, dim), wide.mean(dim), rtol=1e-14)
    assert mean.dims == wide.mean(dim).dims


def test_what_is_not_finite_is_nan_in_both() -> None:
    """Without a word of warning, and in its pixel alone."""
    frames = xr.DataArray(np.ones((3, 2, 2)), dims=("t", "y", "x"))
    frames[1, 0, 0], frames[2, 1, 1] = np.inf, np.nan
    for given in (frames, frames.chunk(t=1)):
        mean, variance = moments_along(given, "t")
        np.testing.assert_array_equal(mean, [[np.nan, 1], [1, np.nan]])
        np.testing.assert_array_equal(variance, [[np.nan, 0], [0, np.nan]])


def test_a_mean_is_not_taken_over_what_is_left_of_a_pixel() -> None:
    """A pixel that is NaN in one frame has no mean; the others' sum by the number would be less."""
    frames = xr.DataArray(np.ones((3, 2, 2)), dims=("t", "y", "x"))
    frames[2, 1, 1] = np.nan
    for given in (frames, frames.chunk(t=1)):
        np.testing.assert_array_equal(mean_along(given, "t"), [[1, 1], [1, np.nan]])


def test_a_single_frame_does_not_vary() -> None:
    _, variance = moments_along(xr.DataArray(np.ones((1, 2, 2)), dims=("t", "y", "x")), "t")
    assert (variance == 0).all()


def run(blocks: int) -> xr.DataArray:
    """Return frames that are made when they are asked for, with a noise of their own."""

    def made(
        block: npt.NDArray[np.uint16], block_id: tuple[int, ...] = (0,)
    ) -> npt.NDArray[np.uint16]:
        random = np.random.default_rng(block_id[0])
        return random.integers(90, 110, block.shape, dtype=np.uint16)

    nothing = da.zeros((blocks * BLOCK, SIDE, SIDE), dtype=np.uint16, chunks=(BLOCK, SIDE, SIDE))
    return xr.DataArray(nothing.map_blocks(made, dtype=np.uint16), dims=("t", "y", "x"))


def lazy(result: xr.DataArray | xr.Dataset) -> list[Any]:
    """Return what is to be computed of a result."""
    parts = result.data_vars.values() if isinstance(result, xr.Dataset) else [result]
    return [part.data for part in parts]


def given(name: str, frames: xr.DataArray) -> dict[str, Any]:
    """Return the parameters of an operation that averages over time."""
    every: dict[str, dict[str, Any]] = {
        "background": {"method": "mean"},
        "estimate_illumination": {"sigma": 6},
        "photon_transfer": {"dark": frames // 8},
    }
    return every.get(name, {})


@pytest.mark.parametrize(
    "name",
    [
        "background",
        "bad_pixels",
        "estimate_illumination",
        "fourier_ring_correlation",
        "photon_transfer",
    ],
)
@pytest.mark.parametrize("blocks", [4, 64])
def test_a_longer_run_takes_no_more_than_is_said(name: str, blocks: int) -> None:
    """Averages of chunks are put together as they come, beside the chunk that is worked on."""
    frames = run(blocks)
    function, parameters = operations()[name].function, given(name, frames)
    with dask.config.set(scheduler="synchronous"):
        # What is loaded and kept for next time is not for this run.
        dask.base.compute(*lazy(function(run(2), **given(name, run(2)))))  # type: ignore[no-untyped-call]
        parts = lazy(function(frames, **parameters))
        tracemalloc.start()
        dask.base.compute(*parts)  # type: ignore[no-untyped-call]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    chunks = BLOCK * SIDE * SIDE * 2 * (2 if name == "photon_transfer" else 1)
    assert most <= scratch_bytes(name, frames, **parameters) + chunks
