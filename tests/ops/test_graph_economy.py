"""Lazy operations are few tasks: what looks at nothing beyond its chunk joins with its neighbours."""

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import optimize

from forebay import ops


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


def test_a_borrowed_rim_is_cut_once_for_each_operation() -> None:
    """Chunks that cut through frames are right, and cost more tasks: the engine's tiles do not."""
    values = np.random.default_rng(1).random((2, 40, 50))
    frames = xr.DataArray(values, dims=("t", "y", "x"))
    cut = ops.median_filter(frames.chunk({"y": 20}), size=3)
    assert tasks(cut) > 2
    np.testing.assert_array_equal(cut, ops.median_filter(frames, size=3))
