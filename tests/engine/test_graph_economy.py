"""Chains of operations read each block with its halo once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay import ops
from forebay.acquisition.run.blocks import BlockArray
from forebay.engine import Algorithm, Blockwise, process

STEPS: list[Callable[[xr.DataArray], xr.DataArray]] = [
    lambda frames: ops.gaussian_filter(frames, sigma=0.5),
    lambda frames: ops.median_filter(frames, size=3),
    lambda frames: ops.bandpass(frames, background_sigma=1, noise_sigma=0.5, truncate=2),
    lambda frames: ops.running_mean(frames, window=3),
    lambda frames: ops.erosion(frames, size=3),
]


def chained(count: int, needs: Blockwise | None = None) -> Algorithm:
    """Return an algorithm that applies so many operations, one after the other."""

    def function(frames: xr.DataArray) -> xr.DataArray:
        for step in STEPS[:count]:
            frames = step(frames)
        return frames

    return Algorithm("chained", f"1.0.{count}", function, needs or Blockwise())


@pytest.mark.parametrize(
    "needs",
    [Blockwise(halo_frames=1), Blockwise(halo_frames=1, tile_pixels=8, halo_pixels=4)],
    ids=["frames", "tiles"],
)
def test_a_longer_chain_reads_no_more(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, needs: Blockwise
) -> None:
    """What a unit sees, its halo too, is read once, however many operations look at it."""
    read: list[int] = []
    read_block = BlockArray._read_block

    def counted(self: BlockArray, block: Any, within: range, out: Any) -> None:
        if out.ndim > 1:
            read.append(len(within))
        read_block(self, block, within, out)

    monkeypatch.setattr(BlockArray, "_read_block", counted)
    run = write_run(frames=6, frames_per_block=2, shape=(12, 14))
    taken = []
    for count in (1, 5):
        read.clear()
        process(run, chained(count, needs))
        taken.append(sum(read))
    assert taken[0] == taken[1] > 0


def test_a_halo_is_wide_enough_for_the_whole_chain(write_run: WriteRun) -> None:
    """Tiles with the sum of what the operations look at give what whole frames give."""
    run = write_run(frames=4, frames_per_block=4, shape=(24, 30))
    # 2 + 1 + 2 + 0 + 1 pixels.
    tiled = process(run, chained(5, Blockwise(tile_pixels=11, halo_pixels=6)))
    whole = process(run, chained(5), force=True)
    found, expected = (each.arrays()["frames"].to_numpy() for each in (tiled, whole))
    np.testing.assert_allclose(found, expected, atol=1e-4)
