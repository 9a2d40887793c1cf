"""Lazy operations are few tasks: what looks at nothing beyond its chunk joins with its neighbours."""

from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import optimize

from forebay import ops
from forebay.ops._blocks import apply


def tasks(frames: xr.DataArray) -> int:
    """Return how many tasks a scheduler gets."""
    (optimised,) = optimize(frames.data)  # type: ignore[no-untyped-call]
    return len(dict(optimised.__dask_graph__()))


def test_a_chain_on_whole_frames_is_a_task_a_chunk() -> None:
    """However many operations there are, since none of them borrows from another chunk."""
    random = da.random.default_rng(1).random((12, 40, 50), chunks=(2, 40, 50))  # type: ignore[no-untyped-call]
    frames = xr.DataArray(random, dims=("t", "y", "x"))
    chain = ops.gaussian_filter(frames, sigma=1)
    alone = tasks(chain)
    assert alone == 6 + 6, "what makes the frames, and what filters them"
    chain = ops.median_filter(chain, size=3)
    chain = ops.bandpass(chain, background_sigma=2)
    chain = ops.fourier_filter(chain, kind="low", cutoff=0.2)
    chain = ops.white_top_hat(chain, size=5)
    assert tasks(chain) == alone


def test_a_chain_that_begins_with_a_correction_is_a_task_a_chunk() -> None:
    """What stands beside the frames, and is spread over them, ends no task."""
    frames = xr.DataArray(np.full((8, 40, 50), 300, "uint16"), dims=("t", "y", "x"))
    flat, dark = frames[0] * 0 + 90.0, frames[0] * 0 + 10.0
    frames = frames.chunk({"t": 2})
    chain = ops.flat_field(ops.subtract_dark(frames, dark), flat=flat)
    chain = ops.fourier_filter(ops.median_filter(chain, size=3), kind="low", cutoff=0.2)
    assert tasks(chain) == 4 + 4 + 2, "what is filtered, the frames, and the two images"


def test_a_block_comes_to_an_operation_uncopied() -> None:
    """Also where the result has fewer dimensions than what came, and something stands beside it."""
    made: list[Any] = []
    came: list[Any] = []

    def source(block: Any) -> Any:
        made.append(block + 1)
        return made[-1]

    def mean(block: Any, other: Any) -> Any:
        came.append(block)
        return block.mean(axis=(-2, -1)) * other.sum()

    nothing = da.zeros((4, 6, 8), chunks=(2, 6, 8))
    blocks = nothing.map_blocks(source, dtype=float, meta=np.empty((0, 0, 0)))
    found = apply(
        mean,
        xr.DataArray(blocks, dims=("t", "y", "x")),
        ("y", "x"),
        dtype=np.dtype(float),
        new_sizes={},
        beside=[(xr.DataArray(np.full((3, 5), 2.0), dims=("v", "u")), ("v", "u"))],
        kwargs={},
    )
    assert not came, "nothing is computed when the graph is built"
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(found, [30.0] * 4)
    assert [id(block) for block in came] == [id(block) for block in made]


def test_a_borrowed_rim_is_cut_once_for_each_operation() -> None:
    """Chunks that cut through frames are right, and cost more tasks: the engine's tiles do not."""
    values = np.random.default_rng(1).random((2, 40, 50))
    frames = xr.DataArray(values, dims=("t", "y", "x"))
    cut = ops.median_filter(frames.chunk({"y": 20}), size=3)
    assert tasks(cut) > 2
    np.testing.assert_array_equal(cut, ops.median_filter(frames, size=3))


def test_deconvolutions_in_a_row_read_a_chunk_once_and_meet_the_whole() -> None:
    """Each borrows what it needs from what the one before gave; and a halo for all is their sum."""
    psf = ops.gaussian_psf(sigma=1.2, truncate=3)
    spots = np.random.default_rng(2).poisson(30, (1, 96, 90)).astype("float64")
    spots[:, 20::19, 15::17] += 900
    frames = xr.DataArray(spots, dims=("t", "y", "x"), coords={"y": np.arange(96)})
    radii = {"richardson_lucy": 4, "wiener": 4}
    margin = sum(radii.values()) * (psf.sizes["y"] // 2)

    def twice(given: xr.DataArray) -> xr.DataArray:
        sharper = ops.richardson_lucy(
            given, psf=psf, iterations=5, accelerate=False, overlap=radii["richardson_lucy"]
        )
        return ops.wiener(sharper, psf=psf, noise_to_signal=0.1, overlap=radii["wiener"])

    whole = twice(frames)
    read: list[int] = []

    def counted(block: Any) -> Any:
        read.append(block.shape[1])
        return block

    source = frames.chunk({"y": 48})
    source = source.copy(
        data=source.data.map_blocks(counted, dtype=float, meta=np.empty((0, 0, 0)))
    )
    cut = twice(source).compute()
    assert read == [48, 48]
    tile = twice(frames.isel(y=slice(0, 48 + margin))).isel(y=slice(0, 48))
    for found in (cut, tile):
        assert abs(found - whole).max() < 1e-4 * whole.max()
    narrow = twice(frames.isel(y=slice(0, 48 + 2))).isel(y=slice(0, 48))
    assert abs(narrow - whole).max() > 1e-3 * whole.max(), "it is the margin that does it"
