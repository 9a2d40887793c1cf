"""The frames that operations are measured on, and what corrects them."""

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

PIXELS_PER_PARTICLE = 2000


@dataclass(frozen=True)
class Given:
    """Frames in blocks, and what goes with them."""

    frames: xr.DataArray
    """uint16, lazy, a block of several whole frames at a time."""
    dark: xr.DataArray
    """A frame without light, float32."""
    flat: xr.DataArray
    """A frame of even light, float32."""

    @property
    def pixels(self) -> Any:
        """The frames as a Dask array."""
        return self.frames.data


def given(frames: int, side: int, block: int) -> Given:
    """Return frames of bright spots on a noisy ground."""
    random = np.random.default_rng(1)
    values = random.normal(400, 20, (frames, side, side)).astype(np.float32)
    spot = 300 * np.exp(-(np.add.outer(np.arange(-7, 8) ** 2, np.arange(-7, 8) ** 2)) / 8)
    for frame in values:
        for y, x in random.integers(7, side - 8, (side * side // PIXELS_PER_PARTICLE, 2)):
            frame[y - 7 : y + 8, x - 7 : x + 8] += spot
    pixels = values.clip(0, 65_535).astype(np.uint16)
    lazy = da.from_array(pixels, chunks=(block, side, side), name="frames")  # type: ignore[no-untyped-call]
    return Given(
        xr.DataArray(lazy, dims=("t", "y", "x")),
        xr.DataArray(random.normal(100, 2, (side, side)).astype(np.float32), dims=("y", "x")),
        xr.DataArray(random.normal(1, 0.02, (side, side)).astype(np.float32), dims=("y", "x")),
    )
