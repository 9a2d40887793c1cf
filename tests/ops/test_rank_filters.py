"""What ranks a neighbourhood: the median, erosion, dilation, what is made of them, rolling balls."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import skimage.morphology
import skimage.restoration
import xarray as xr

from forebay.ops import (
    OperationError,
    black_top_hat,
    closing,
    dilation,
    erosion,
    median_filter,
    opening,
    rolling_ball,
    white_top_hat,
)
from forebay.ops.filters.footprint import disc
from forebay.ops.filters.median import local_median
from forebay.ops.filters.rolling_ball import opened_by_ball, opened_by_small_ball

MORPHOLOGY: dict[str, tuple[Callable[..., xr.DataArray], Callable[..., Any]]] = {
    "erosion": (erosion, skimage.morphology.erosion),
    "dilation": (dilation, skimage.morphology.dilation),
    "opening": (opening, skimage.morphology.opening),
    "closing": (closing, skimage.morphology.closing),
    "white_top_hat": (white_top_hat, skimage.morphology.white_tophat),
    "black_top_hat": (black_top_hat, skimage.morphology.black_tophat),
}
each = pytest.mark.parametrize(("ours", "theirs"), MORPHOLOGY.values(), ids=MORPHOLOGY.keys())


def footprint_of(shape: str, size: int) -> npt.NDArray[Any]:
    """Return scikit-image's footprint of the same name."""
    if shape == "square":
        return np.ones((size, size))
    made: npt.NDArray[Any] = skimage.morphology.disk(size // 2)  # type: ignore[no-untyped-call]
    return made


@each
@pytest.mark.parametrize(("shape", "size"), [("disc", 7), ("square", 5), ("square", 1)])
def test_morphology_is_scikit_images(
    frames: xr.DataArray, ours: Any, theirs: Any, shape: str, size: int
) -> None:
    """Every value is the one that scikit-image gives for each frame, with nothing beyond the edge."""
    footprint = footprint_of(shape, size)
    expected = np.stack(
        [theirs(frame.astype(float), footprint, mode="ignore") for frame in frames.values]
    )

    np.testing.assert_array_equal(ours(frames, size=size, footprint=shape), expected)
    np.testing.assert_array_equal(ours(frames.astype(float), size=size, footprint=shape), expected)


@pytest.mark.parametrize("shape", ["disc", "square"])
def test_opening_and_closing_bound_the_frame_and_do_nothing_twice(
    frames: xr.DataArray, shape: Any
) -> None:
    """Up to the edges: below and above the frame, and the same again the second time."""
    opened = opening(frames, size=5, footprint=shape)
    closed = closing(frames, size=5, footprint=shape)

    assert bool((opened <= frames).all())
    assert bool((closed >= frames).all())
    np.testing.assert_array_equal(opening(opened, size=5, footprint=shape), opened)
    np.testing.assert_array_equal(closing(closed, size=5, footprint=shape), closed)


@pytest.mark.parametrize("shape", ["disc", "square"])
def test_the_median_is_scipys(frames: xr.DataArray, shape: Any) -> None:
    """Every value is the one that scipy gives for the same footprint."""
    footprint = footprint_of(shape, 5).astype(bool)[None]
    expected = scipy.ndimage.median_filter(frames.values, footprint=footprint, mode="nearest")

    np.testing.assert_array_equal(median_filter(frames, size=5, footprint=shape), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", ">f8", ">u2"])
def test_any_dtype_is_ranked(frames: xr.DataArray, dtype: str) -> None:
    """Integers, half floats and foreign byte orders have the median of their values."""
    few = frames % 200

    result = median_filter(few.astype(dtype), size=3)

    np.testing.assert_array_equal(result, median_filter(few, size=3))


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block functions give on any device what they give in NumPy, NaN and all."""
    values = rng.normal(size=(2, 15, 18)).astype(np.float32)
    values[1, 3, 4] = np.nan
    shape: dict[str, Any] = {"size": 3, "footprint": "disc", "axes": (1, 2)}
    ball: dict[str, Any] = {"radius": 2.5, "height": 1.0, "axes": (1, 2)}

    median = xp.host(local_median(xp.array(values), **shape))
    background = xp.host(opened_by_ball(xp.array(values), **ball))

    np.testing.assert_array_equal(median, local_median(values, **shape))
    np.testing.assert_allclose(background, opened_by_ball(values, **ball), atol=1e-6)


@each
def test_a_nan_spreads_under_the_footprint(frames: xr.DataArray, ours: Any, theirs: Any) -> None:
    """A NaN is in the result wherever its value could have mattered, and nowhere else."""
    noisy = frames.astype("float32")
    noisy[2, 15, 20] = np.nan

    result = ours(noisy, size=5)

    once = ours in (erosion, dilation)
    reach = disc((1, 5, 5))
    spot = np.isnan(noisy.values)
    for _ in range(1 if once else 2):
        spot = scipy.ndimage.binary_dilation(spot, reach)
    np.testing.assert_array_equal(np.isnan(result), spot)
    np.testing.assert_array_equal(result.values[~spot], ours(frames, size=5).values[~spot])


def test_infinite_pixels_are_ranked_like_others(frames: xr.DataArray) -> None:
    """An infinite pixel is the largest, and makes no NaN in a median or an erosion."""
    bright = frames.astype("float32")
    bright[0, 4, 4] = np.inf

    assert np.isfinite(median_filter(bright, size=3)).all()
    assert int(np.isinf(dilation(bright, size=3, footprint="square")).sum()) == 9


def test_a_frame_of_nan_gives_nan(frames: xr.DataArray) -> None:
    """Nothing is known of it; the other frames are as they are."""
    noisy = frames.astype("float32")
    noisy[1] = np.nan

    for function in (median_filter, opening):
        result = function(noisy, size=3)
        assert np.isnan(result[1]).all()
        np.testing.assert_array_equal(result[2:], function(frames, size=3)[2:])


@pytest.mark.parametrize("chunks", [{"t": 3}, {"y": 5, "x": (3, 17, 21)}, {"t": 2, "y": (13, 17)}])
def test_chunks_through_the_frame_leave_no_seam(
    frames: xr.DataArray, chunks: dict[str, Any]
) -> None:
    """Chunks cut through y and x, even narrower than the rim, give the eager values bit for bit."""
    noisy = frames.astype("float32")
    noisy[2, 15, 20] = np.nan
    for function in (median_filter, *(ours for ours, _ in MORPHOLOGY.values())):
        eager = function(noisy, size=5, footprint="disc")
        lazy = function(noisy.chunk(chunks), size=5, footprint="disc")
        np.testing.assert_array_equal(lazy, eager)
    np.testing.assert_array_equal(
        rolling_ball(noisy.chunk(chunks), radius=4), rolling_ball(noisy, radius=4)
    )


@pytest.mark.parametrize(("radius", "height"), [(4, None), (5.5, 300)])
def test_the_ball_touches_where_scikit_images_does(
    frames: xr.DataArray, radius: float, height: float | None
) -> None:
    """Its rolling ball, and that of the negative of what it gives, are the opening by a ball."""
    size = 2 * int(radius) + 1
    place = np.mgrid[:size, :size] - size // 2
    part = (place**2).sum(0) / radius**2
    top = height or radius
    kernel = np.where(part <= 1, top * np.sqrt(np.clip(1 - part, 0, None)), np.inf)
    expected = []
    for frame in frames.values.astype(float):
        touched = skimage.restoration.rolling_ball(frame, kernel=kernel)
        expected.append(-skimage.restoration.rolling_ball(-touched, kernel=kernel))

    result = rolling_ball(frames.astype(float), radius=radius, height=height)

    np.testing.assert_allclose(result, np.stack(expected), atol=1e-9)


def test_the_ball_stays_below_the_frame_and_leaves_spots(rng: np.random.Generator) -> None:
    """On a slope with spots, the background is the slope to within two counts."""
    y, x = np.mgrid[:80, :80]
    slope = 100 + 0.5 * y + 0.2 * x
    spots = np.zeros((80, 80))
    spots[rng.integers(15, 65, 12), rng.integers(15, 65, 12)] = 500
    frames = xr.DataArray(slope + scipy.ndimage.gaussian_filter(spots, 1.5), dims=("y", "x"))

    result = rolling_ball(frames, radius=12)

    assert float((result - frames).max()) < 1e-9
    assert float(abs(result - slope)[15:65, 15:65].max()) < 2


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (median_filter, {"size": 4}, "size is 4, but must be an odd whole number"),
        (median_filter, {"size": 31}, "frames has 30 pixels along 'y', but size=31"),
        (median_filter, {"size": 3, "footprint": "ring"}, "footprint is 'ring'"),
        (erosion, {"size": 0}, "size is 0"),
        (opening, {"size": 3, "dims": ("y", "z")}, "'z' is needed"),
        (rolling_ball, {"radius": 0.5}, "radius is 0.5"),
        (rolling_ball, {"radius": 20}, "frames has 30 pixels along 'y'"),
        (rolling_ball, {"radius": 3, "height": 0}, "height is 0"),
        (rolling_ball, {"radius": 3, "precision": "half"}, "precision is 'half'"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, function: Any, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        function(frames, **parameters)


def test_a_fast_ball_comes_near_to_an_exact_one(rng: np.random.Generator) -> None:
    """On a smooth ground with spots, within a part of what the ground varies by, and never above."""
    y, x = np.mgrid[:150, :131]
    ground = 500 + 60 * np.sin(y / 40) + 40 * np.cos(x / 30)
    frame = xr.DataArray(ground, dims=("y", "x"))
    for row, column in rng.integers(5, 125, (20, 2)):
        frame[row : row + 3, column : column + 3] += 300
    exact = rolling_ball(frame, radius=20, height=100)
    fast = rolling_ball(frame, radius=20, height=100, precision="fast")
    assert float(abs(fast - exact).max()) < 10
    assert bool((fast <= frame).all())
    # Small balls are not made smaller.
    small = rolling_ball(frame, radius=8)
    xr.testing.assert_identical(rolling_ball(frame, radius=8, precision="fast"), small)


def test_a_fast_ball_is_the_same_in_chunks_and_spreads_nan(frames: xr.DataArray) -> None:
    """Chunks that cut through the frame are merged; a NaN reaches two squares of the ball."""
    noisy = frames.astype("float32")
    noisy[0, 0, 0] = np.nan
    fast = rolling_ball(noisy, radius=12, precision="fast")
    lazy = rolling_ball(noisy.chunk({"t": 3, "y": 11}), radius=12, precision="fast")
    xr.testing.assert_identical(lazy.compute(), fast)
    assert bool(fast[0, :24, :24].isnull().all())
    assert not bool(fast[1:].isnull().any())


def test_a_fast_ball_works_with_any_library(xp: Any, rng: np.random.Generator) -> None:
    """The smaller frame is made, opened and stretched with what the standard promises."""
    values = rng.normal(100, 5, (2, 31, 26)).astype("float32")
    options: dict[str, Any] = {"radius": 12.0, "height": 30.0, "factor": 2, "ndim": 2}
    found = xp.host(opened_by_small_ball(xp.array(values), **options))
    np.testing.assert_allclose(found, opened_by_small_ball(values, **options), rtol=1e-6)
