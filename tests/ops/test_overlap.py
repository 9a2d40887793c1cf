"""What blocks borrow of their neighbours: all that a function looks at, however far it looks."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops._overlap import Rim, apply_with_rim
from forebay.ops.deconvolution.overlap import apply_to_frames


def largest(array: Any, *, before: tuple[int, int], behind: tuple[int, int]) -> Any:
    """Return the largest of what lies around each pixel: it tells of each one that is lacking."""
    size = [1 + low + high for low, high in zip(before, behind, strict=True)]
    origin = [low - (1 + low + high) // 2 for low, high in zip(before, behind, strict=True)]
    wide = array.astype("float64")
    return scipy.ndimage.maximum_filter(
        wide, size=(1, *size), origin=(0, *origin), mode="constant", cval=-np.inf
    )


@pytest.fixture
def frames(rng: np.random.Generator) -> xr.DataArray:
    """Frames of which no two pixels are alike."""
    return xr.DataArray(rng.random((2, 13, 17)), dims=("t", "y", "x"))


CHUNKS: list[Mapping[Hashable, Any]] = [
    {"t": 1, "y": 7, "x": 9},
    {"y": (1, 12), "x": 2},
    {"y": -1, "x": 5},
    {"y": 3, "x": -1},
]


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("rims", [(1, 3), (0, 12), ((3, 0), (0, 4)), (13, 2), (40, (60, 0))])
def test_a_block_sees_its_whole_rim(
    frames: xr.DataArray, chunks: Mapping[Hashable, Any], rims: tuple[Rim, Rim]
) -> None:
    """Also one that is wider than a chunk, or than the frame, or not the same on both sides."""
    pairs = [rim if isinstance(rim, tuple) else (rim, rim) for rim in rims]
    before, behind = zip(*pairs, strict=True)
    kwargs = {"before": before, "behind": behind}
    dims: dict[Hashable, Rim] = dict(zip(("y", "x"), rims, strict=True))

    eager = apply_with_rim(largest, frames, dims, kwargs=kwargs)
    lazy = apply_with_rim(largest, frames.chunk(chunks), dims, kwargs=kwargs)

    xr.testing.assert_identical(lazy.compute(), eager)


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("overlap", [1, 2, 5, 8])
def test_a_block_sees_as_many_radii_as_are_asked_for(
    frames: xr.DataArray, chunks: Mapping[Hashable, Any], overlap: int
) -> None:
    """Of a point-spread function that is longer one way than the other: 3 by 5 pixels."""
    psf = xr.DataArray(np.full((3, 5), 1 / 15), dims=("psf_y", "psf_x"))
    reach = (overlap, 2 * overlap)

    def seen(array: Any, psf: Any) -> Any:
        return largest(array, before=reach, behind=reach)

    def result(given: xr.DataArray) -> xr.DataArray:
        return apply_to_frames(
            seen,
            given,
            ("y", "x"),
            psf=psf,
            overlap=overlap,
            dtype=np.dtype("float64"),
            kwargs={},
        )

    xr.testing.assert_identical(result(frames.chunk(chunks)).compute(), result(frames))
