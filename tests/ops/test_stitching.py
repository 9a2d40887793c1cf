"""Mosaics of overlapping tiles: `estimate_tile_offsets` and `stitch_tiles`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, estimate_tile_offsets, stitch_tiles
from forebay.ops.registration.tiles import mosaic, settled

WATER = Path(__file__).parents[2] / "examples" / "data" / "bulk_water" / "bulk_water_000.png"


def places(values: Any) -> xr.DataArray:
    """Return offsets of tiles along y and x."""
    return xr.DataArray(np.asarray(values), dims=("tile", "axis"), coords={"axis": ["y", "x"]})


def scene() -> npt.NDArray[np.float64]:
    """Return a part of a real frame."""
    with Image.open(WATER) as image:
        return np.asarray(image.convert("L"))[100:260, 100:330].astype(float)


TRUE = np.array([(0, 0), (3, 82), (70, 2), (66, 79), (68, 150)])
NOMINAL = np.array([(0, 0), (0, 80), (70, 0), (70, 80), (70, 150)])


@pytest.fixture
def overlapping() -> xr.DataArray:
    """Give five tiles of a real frame, 90 × 110 pixels, that overlap by 20 to 40."""
    padded = np.pad(scene(), ((0, 0), (0, 40)), mode="reflect")
    values = np.stack([padded[y : y + 90, x : x + 110] for y, x in TRUE])
    return xr.DataArray(values.astype(np.uint8), dims=("tile", "y", "x"), name="counts")


def test_tiles_of_a_real_frame_find_their_places(overlapping: xr.DataArray) -> None:
    """Offsets that were wrong by a few pixels are right within a tenth, up to a common shift."""
    eager = estimate_tile_offsets(overlapping, places(NOMINAL))
    lazy = estimate_tile_offsets(overlapping.chunk({"tile": 2, "y": 30}), places(NOMINAL))

    expected = TRUE - TRUE.mean(axis=0) + NOMINAL.mean(axis=0)
    np.testing.assert_allclose(eager, expected, atol=0.1)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy.compute(), eager, atol=1e-5)
    assert eager.dims == ("tile", "axis")
    assert eager.dtype == np.float32
    assert (eager.name, eager.attrs) == ("counts", {"units": "pixels"})


def test_a_real_frame_is_put_together_again(overlapping: xr.DataArray) -> None:
    """The mosaic at the true offsets is the frame, to the last bit of its 8, where there are tiles."""
    offsets = places(TRUE - TRUE.min(axis=0))

    image = stitch_tiles(overlapping, offsets)

    whole = np.pad(scene(), ((0, 0), (0, 40)), mode="reflect")[: image.sizes["y"]]
    covered = np.zeros(image.shape, bool)
    for y, x in TRUE:
        covered[y : y + 90, x : x + 110] = True
    np.testing.assert_array_equal(image.notnull(), covered)
    np.testing.assert_allclose(
        image.values[covered], whole[:, : image.sizes["x"]][covered], atol=1e-4
    )
    found = estimate_tile_offsets(overlapping, places(NOMINAL))
    assert np.nanstd(stitch_tiles(overlapping, found).values) == pytest.approx(
        np.nanstd(image.values), rel=0.05
    )


def test_least_squares_over_all_pairs(rng: np.random.Generator) -> None:
    """The offsets are what solves the weighted normal equations; pairs too far off do not count."""
    nominal = rng.uniform(0, 100, (4, 2))
    pairs = [
        (a, b, rng.integers(-50, 50, 2).tolist(), int(rng.integers(50, 900)))
        for a, b in ((0, 1), (1, 2), (0, 2), (2, 3))
    ]
    moved = rng.normal(0, 2, (4, 2))
    normal, right = 1e-6 * np.eye(4), 1e-6 * nominal
    heaviest = max(weight for *_, weight in pairs)
    for (a, b, between, weight), each in zip(pairs, moved, strict=True):
        row = np.zeros(4)
        row[[a, b]] = -1, 1
        normal = normal + weight / heaviest * np.outer(row, row)
        right = right + weight / heaviest * np.outer(row, between - each)

    result = settled(moved, pairs=pairs, nominal=nominal, most=99.0)

    np.testing.assert_allclose(result, np.linalg.solve(normal, right), atol=1e-6)
    outlier = np.vstack([moved, [[500.0, 0]]])
    more = [*pairs, (0, 3, [0, 0], 50)]
    np.testing.assert_allclose(
        settled(outlier, pairs=more, nominal=nominal, most=99.0), result, atol=1e-9
    )
    alone = settled(moved[:1], pairs=pairs[:1], nominal=nominal, most=99.0)
    np.testing.assert_allclose(alone[2:], nominal[2:], atol=1e-9)


def test_blending_is_linear() -> None:
    """From one tile to the next the weight falls in equal steps."""
    tiles = xr.DataArray(np.stack([np.zeros((3, 9)), np.ones((3, 9))]), dims=("tile", "y", "x"))

    image = stitch_tiles(tiles, places([(0, 0), (0, 4)]))

    np.testing.assert_allclose(image[1, 4:9], np.arange(1, 6) / 6)
    np.testing.assert_allclose(image[:, :4], 0)
    np.testing.assert_allclose(image[:, 9:], 1)


def test_parts_of_a_pixel_are_interpolated() -> None:
    """A ramp, which linear splines keep, is put together at offsets between the pixels."""
    x = np.arange(12.0)
    tiles = xr.DataArray(np.stack([x, x + 7.5])[:, None], dims=("tile", "y", "x"))

    image = stitch_tiles(tiles, places([(0, 0), (0, 7.5)]))
    rounded = stitch_tiles(tiles, places([(0, 0), (0, 7.5)]), order=0)

    np.testing.assert_allclose(image[0, :19], np.arange(19), atol=1e-12)
    assert image.x.values[0] == 0
    assert float(abs(rounded[0, :19] - np.arange(19)).max()) > 0.4


def test_gaps_and_nans_are_left_to_other_tiles() -> None:
    """Where one tile is NaN the other one shows; where there is none the image is NaN."""
    tiles = xr.DataArray(np.ones((2, 3, 4), "f4"), dims=("tile", "y", "x"))
    tiles[0, 1, 3] = np.nan

    image = stitch_tiles(tiles, places([(-5, 2), (-5, 5)]))
    apart = stitch_tiles(tiles, places([(0, 0), (4, 6)]))

    assert bool((image == 1).all())
    assert image.y.values.tolist() == [-5, -4, -3]
    assert image.x.values.tolist() == list(range(2, 9))
    assert int(apart.notnull().sum()) == 23
    assert apart.shape == (7, 10)


def test_leading_dimensions_and_chunks(rng: np.random.Generator) -> None:
    """Each frame of a run is stitched by itself; cut anywhere, it gives the eager bits."""
    values = rng.integers(0, 4000, (3, 2, 10, 12), dtype=np.uint16)
    tiles = xr.DataArray(
        values, dims=("t", "tile", "y", "x"), coords={"t": [1.0, 2, 3]}, attrs={"units": "ADU"}
    )
    offsets = places([(0, 0), (0.25, 8.5)])

    eager = stitch_tiles(tiles, offsets)
    lazy = stitch_tiles(tiles.chunk({"t": 2, "tile": 1, "x": 5}), offsets)

    assert eager.dims == ("t", "y", "x")
    assert eager.dtype == np.float32
    assert eager.attrs == {"units": "ADU"}
    np.testing.assert_array_equal(lazy.compute(), eager)
    np.testing.assert_array_equal(stitch_tiles(tiles[2], offsets), eager[2])


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block functions give on any device what NumPy gives."""
    values = rng.normal(size=(2, 3, 6, 7))
    offsets = np.array([(0, 0), (1.25, 4.5), (3, 1)])
    options: dict[str, Any] = {"offsets": offsets, "shape": (10, 12), "order": 1}
    pairs = [(0, 1, [1, 4], 6), (1, 2, [2, -4], 9)]
    moved = np.array([[0.5, 0], [0, -0.25]])

    result = xp.host(mosaic(xp.array(values), **options))
    found = xp.host(settled(xp.array(moved), pairs=pairs, nominal=offsets, most=1.0))

    np.testing.assert_allclose(result, mosaic(values, **options), atol=1e-12)
    np.testing.assert_allclose(found, settled(moved, pairs=pairs, nominal=offsets, most=1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL[:4])), "must have 5 along"),
        (
            lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL).chunk()),
            "use nominal.compute()",
        ),
        (lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL * 9)), "no two tiles that over"),
        (
            lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL * np.nan)),
            "nominal has a value that is not finite",
        ),
        (
            lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL).drop_vars("axis")),
            "whose coordinate names \\['y', 'x'\\]",
        ),
        (
            lambda tiles: estimate_tile_offsets(tiles.expand_dims(t=2), places(NOMINAL)),
            "select one frame or take the mean",
        ),
        (lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL), min_overlap=1), "min_overlap"),
        (
            lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL), max_displacement=0),
            "max_displacement is 0",
        ),
        (lambda tiles: estimate_tile_offsets(tiles, places(NOMINAL), dim="k"), "'k' is needed"),
        (lambda tiles: stitch_tiles(tiles, places(NOMINAL), order=7), "order is 7"),
        (lambda tiles: stitch_tiles(tiles, places(NOMINAL * 1e9)), "more than a mosaic may have"),
        (lambda tiles: stitch_tiles(tiles, places(NOMINAL).chunk()), "use offsets.compute()"),
    ],
)
def test_what_does_not_fit_is_refused(overlapping: xr.DataArray, call: Any, message: str) -> None:
    """What is missing, not known or out of its range is named in the error."""
    with pytest.raises(OperationError, match=message):
        call(overlapping)
