"""The steps of `find_particles`, each against a plain loop or another library."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay.ops.particles.image import moving_average, particle_image, spread
from forebay.ops.particles.maxima import local_maxima, positive_percentile
from forebay.ops.particles.refinement import mask_moments, refine
from forebay.ops.particles.table import outshone


@pytest.fixture
def stack(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Give three small frames of smooth positive noise, with some zeros."""
    noise = scipy.ndimage.gaussian_filter(rng.normal(size=(3, 30, 34)), (0, 1.5, 1.5))
    positive: np.ndarray[Any, Any] = (100 * noise.clip(0)).astype(np.float32)
    return positive


@settings(deadline=None)
@given(
    image=hnp.arrays(np.float32, (2, 3, 4), elements=st.integers(0, 9)),
    percentile=st.floats(0, 100),
)
def test_the_percentile_is_numpys_over_positive_pixels(image: Any, percentile: float) -> None:
    """Each frame has the percentile of its own positive pixels; an empty one has 0."""
    expected = [
        np.percentile(frame[frame > 0], percentile) if (frame > 0).any() else 0 for frame in image
    ]

    np.testing.assert_allclose(positive_percentile(image, percentile), expected, rtol=1e-5)


@pytest.mark.parametrize("window", [2, 3, 8, 9])
@pytest.mark.parametrize("margin", [0, 4])
def test_maxima_are_largest_in_their_square(
    xp: Any, stack: np.ndarray[Any, Any], window: int, margin: int
) -> None:
    """A maximum is above the percentile and no pixel of the square around it is larger."""
    found = local_maxima(xp.array(stack), window=window, margin=margin, percentile=40)

    up, down = (window - 1) // 2, window // 2
    least = [np.percentile(frame[frame > 0], 40) for frame in stack]
    expected = [
        (n, y, x)
        for n, y, x in np.ndindex(stack.shape)
        if stack[n, y, x] > least[n]
        and stack[n, y, x]
        == stack[n, max(y - up, 0) : y + down + 1, max(x - up, 0) : x + down + 1].max()
        and margin <= y < 30 - margin
        and margin <= x < 34 - margin
    ]
    assert list(zip(*(xp.host(each).tolist() for each in found), strict=True)) == expected
    assert len(expected) > 5


@pytest.mark.parametrize("rounded", [False, True])
def test_the_background_is_a_mean_over_a_square(
    xp: Any, rng: np.random.Generator, rounded: bool
) -> None:
    """The moving average is scipy's; in whole numbers it is trackpy's, rounded down twice."""
    values = rng.integers(0, 65_535, (2, 20, 25))

    result = xp.host(moving_average(xp.array(values.astype(np.float32)), 7, rounded=rounded))

    if rounded:
        expected = scipy.ndimage.uniform_filter1d(values, 7, axis=1, mode="nearest")
        expected = scipy.ndimage.uniform_filter1d(expected, 7, axis=2, mode="nearest")
        np.testing.assert_array_equal(result, expected)
    else:
        expected = scipy.ndimage.uniform_filter(
            values.astype(float), 7, mode="nearest", axes=(1, 2)
        )
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_a_mask_grows_to_a_square(xp: Any, reach: int) -> None:
    """Each marked pixel marks the square around it, cut off at the edges."""
    mask = np.zeros((2, 9, 9), bool)
    mask[0, 4, 5] = mask[1, 0, 8] = True

    grown = xp.host(spread(xp.array(mask), reach))

    expected = np.zeros_like(mask)
    expected[0, 4 - reach : 5 + reach, 5 - reach : 6 + reach] = True
    expected[1, : 1 + reach, 8 - reach :] = True
    np.testing.assert_array_equal(grown, expected)


def test_the_image_of_whole_numbers_fills_the_gamut(xp: Any, rng: np.random.Generator) -> None:
    """Each frame's brightest pixel becomes the largest value, and the scale tells by how much."""
    values = rng.integers(0, 200, (3, 24, 24), dtype=np.uint8)
    values[2] = 9

    image, scale, unknown = particle_image(
        xp.array(values), noise_sigma=1, window=7, threshold=1, invert=False, gamut=255.0
    )

    image, scale = xp.host(image), xp.host(scale)
    assert image.max(axis=(1, 2)).tolist() == [255, 255, 0]
    assert (image == np.floor(image)).all()
    assert scale[2] == 1
    assert (scale[:2] > 1).all()
    assert unknown is None


def test_refinement_is_the_loop_of_crocker_and_grier(xp: Any, stack: np.ndarray[Any, Any]) -> None:
    """All particles at once end where each would if its mask were moved on its own."""
    radius = 4
    start = [np.array(each) for each in ([0, 0, 1, 2, 2], [9, 15, 12, 25, 4], [7, 20, 29, 4, 17])]

    found = refine(
        xp.array(stack), *(xp.array(each) for each in start), radius=radius, max_iterations=10
    )

    moved = 0
    for row, (n, y, x) in enumerate(zip(*start, strict=True)):
        expected, steps = measure_one(stack[n], int(y), int(x), radius, 10)
        moved += steps
        measured = [xp.host(column)[row] for column in found]
        np.testing.assert_allclose(measured, expected, rtol=1e-9, atol=1e-12)
    assert moved > 3


def measure_one(
    frame: np.ndarray[Any, Any], y: int, x: int, radius: int, most: int
) -> tuple[list[float], int]:
    """Return what is measured from one starting pixel, and how often its mask was moved."""
    offset = np.arange(-radius, radius + 1)
    dy, dx = np.meshgrid(offset, offset, indexing="ij")
    disk = dy**2 + dx**2 <= radius**2
    steps = 0
    while True:
        around = frame[y - radius : y + radius + 1, x - radius : x + radius + 1].astype(float)
        around = around * disk
        mass = around.sum()
        off_y, off_x = (around * dy).sum() / mass, (around * dx).sum() / mass
        move = [int(off > 0.6) - int(off < -0.6) for off in (off_y, off_x)]
        steps += 1
        if move == [0, 0] or steps == most:
            break
        y = min(max(y + move[0], radius), frame.shape[0] - 1 - radius)
        x = min(max(x + move[1], radius), frame.shape[1] - 1 - radius)
    angle = np.arctan2(dy, dx)
    ring = np.where((dy == 0) & (dx == 0), 0, around)
    eccentricity = np.hypot((ring * np.cos(2 * angle)).sum(), (ring * np.sin(2 * angle)).sum())
    size = np.sqrt((around * (dy**2 + dx**2)).sum() / mass)
    values = [y + off_y, x + off_x, mass, size, eccentricity / ring.sum(), around.max()]
    return [float(value) for value in values], steps


def test_one_iteration_measures_where_it_starts(stack: np.ndarray[Any, Any]) -> None:
    """With max_iterations=1 no mask is moved."""
    start = [np.array([1]), np.array([12]), np.array([20])]

    found = refine(stack, *start, radius=4, max_iterations=1)

    expected, _ = measure_one(stack[1], 12, 20, 4, 1)
    np.testing.assert_allclose([column[0] for column in found], expected)


def test_no_start_gives_no_particle(xp: Any, stack: np.ndarray[Any, Any]) -> None:
    """Without a starting pixel every column is there and empty."""
    nothing = xp.array(np.empty(0, np.int64))

    found = refine(xp.array(stack), nothing, nothing, nothing, radius=4, max_iterations=10)

    assert [xp.host(column).shape for column in found] == [(0,)] * 6


def test_of_two_equals_the_lower_right_one_stays() -> None:
    """Particles outshine nearer ones of less mass, or of the same further up left, frame by frame."""
    frames = np.array([0, 0, 0, 1, 1, 1])
    y, x = np.array([10, 14, 30, 10, 14, 30.0]), np.array([10, 11, 30, 10, 11, 30.0])
    mass = np.array([5, 5, 1, 7, 5, 5.0])

    lost = outshone(frames, {"y": y, "x": x, "mass": mass}, separation=5)

    assert lost.tolist() == [True, False, False, False, True, False]
    assert not outshone(frames, {"y": y, "x": x, "mass": mass}, separation=4).any()


@pytest.mark.parametrize(("radius", "pixels"), [(1, 5), (3, 29), (5, 81)])
def test_the_mask_is_round_and_balanced(radius: int, pixels: int) -> None:
    """The mask holds the pixels within its radius, and its odd moments vanish."""
    moments, (dy, dx) = mask_moments(radius)

    assert moments.shape == (pixels, 6)
    assert max(dy**2 + dx**2) == radius**2
    np.testing.assert_allclose(moments[:, [1, 2, 4, 5]].sum(axis=0), 0, atol=1e-12)
