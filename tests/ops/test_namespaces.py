"""Block functions use nothing but what the array API standard promises, and what they are told to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from forebay.ops._arrays import in_place_at
from forebay.ops.detection.maxima import marked_maxima
from forebay.ops.detection.thresholds import otsu, triangle
from forebay.ops.filters.gaussian import gaussian_difference, gaussian_laplacian
from forebay.ops.filters.morphology import stepwise
from forebay.ops.filters.moving_sums import moving_sums
from forebay.ops.measurement.seams import part_edges
from forebay.ops.temporal.finite import centred_mean
from forebay.ops.temporal.sections import first_state

SECTIONS = ((0.2, 0.4, 0.2, 1.0, -0.4, 0.2),)
SQUARE: dict[str, Any] = {"size": 3, "footprint": "square", "axes": (1, 2)}
DISC: dict[str, Any] = {"size": 5, "footprint": "disc", "axes": (1, 2)}

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "erosion": lambda array: stepwise(array, steps=["minimum"], signs=(0, 0), **DISC),
    "white_top_hat": lambda array: stepwise(
        array, steps=["minimum", "maximum"], signs=(1, -1), **SQUARE
    ),
    "black_top_hat": lambda array: stepwise(
        array, steps=["maximum", "minimum"], signs=(-1, 1), **SQUARE
    ),
    "bandpass": lambda array: gaussian_difference(
        array, sigmas=(0.0, 1.5), truncate=3.0, axes=(1, 2)
    ),
    "laplacian_of_gaussian": lambda array: gaussian_laplacian(
        array, sigma=1.5, truncate=3.0, axes=(1, 2), scale=2.0
    ),
    "running_mean": lambda array: centred_mean(array, window=3, axis=0),
    "moving_sums": lambda array: moving_sums(array, 7, 2),
    "h_maxima": lambda array: marked_maxima(array, ndim=2, h=200.0),
    "otsu": lambda array: otsu(array[0, ...]),
    "triangle": lambda array: triangle(array[0, ...]),
    "median of each row": lambda array: in_place_at(array, 6)[..., 6],
    "first state of sections": lambda array: first_state(array, SECTIONS, from_first=True),
}


@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_block_function_gives_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, name: str, gap: bool
) -> None:
    """Of frames of whole numbers, also with a NaN in one of them, on the device they are on."""
    values = rng.integers(0, 1000, (3, 12, 13)).astype(np.float64)
    if gap:
        values[1, 4, 5] = np.nan
    expected = FUNCTIONS[name](values)

    found = xp.host(FUNCTIONS[name](xp.array(values)))

    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_edges_of_parts_come_to_the_host_from_each_library(
    xp: Any, rng: np.random.Generator
) -> None:
    """Numbers along the sides, and where each region has its first pixel."""
    numbers = rng.integers(0, 4, (2, 5, 6))
    expected = part_edges(numbers, (10, 20), (40, 50))

    found = part_edges(xp.array(numbers), (10, 20), (40, 50))

    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
