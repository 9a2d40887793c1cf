"""Declaring an algorithm: what is refused is refused when it is declared, and says why."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from forebay.engine import Algorithm, Blockwise, WholeRun, process, reprocess, submit
from forebay.engine.errors import AlgorithmError
from forebay.engine.parameters import RESERVED


def mean(frames: xr.DataArray) -> xr.DataArray:
    """Average the frames.

    The rest is for people.
    """
    return frames.mean("t")


@pytest.mark.parametrize(
    "name", ["", "Mean", "mean_frames", "-mean", "mean-", "../mean", "mean/x", "1-mean", "mean\n"]
)
def test_a_name_is_lower_case_words_joined_by_hyphens(name: str) -> None:
    """A name becomes a folder's, so that nothing else is taken."""
    with pytest.raises(AlgorithmError, match="use lower-case words"):
        Algorithm(name, "1.0.0", mean)


@pytest.mark.parametrize("version", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-beta", "01.0.0"])
def test_a_version_is_three_numbers(version: str) -> None:
    """A version is three numbers, written in one way only."""
    with pytest.raises(AlgorithmError, match="use three numbers"):
        Algorithm("mean", version, mean)


def test_the_summary_is_the_first_line_of_the_docstring() -> None:
    """People see the first line of the docstring."""
    assert Algorithm("mean", "1.0.0", mean).summary == "Average the frames."


def no_frames() -> None: ...
def only_keywords(*, frames: Any) -> None: ...
def untyped(frames: Any, *, size) -> None: ...  # type: ignore[no-untyped-def]
def positional(frames: Any, size: int) -> None: ...
def open_ended(frames: Any, **sizes: int) -> None: ...
def starred(frames: Any, *sizes: int) -> None: ...
def reserved(frames: Any, *, force: bool) -> None: ...
def underscored(frames: Any, *, _size: int) -> None: ...
def shadowing(frames: Any, *, model_dump: int) -> None: ...
def of_arrays(frames: Any, *, flat: np.ndarray[Any, Any]) -> None: ...
def of_functions(frames: Any, *, window: Callable[[int], int]) -> None: ...
def of_sets(frames: Any, *, channels: set[str]) -> None: ...
def wrong_default(frames: Any, *, size: int = "big") -> None: ...  # type: ignore[assignment]
def forward(frames: Any, *, size: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_frames, "takes no frames"),
        (only_keywords, "takes no frames"),
        (untyped, "'size' needs a type"),
        (positional, "'size' must be given by keyword"),
        (open_ended, "'sizes' stands for any number"),
        (starred, "'sizes' stands for any number"),
        (reserved, "'force' is a keyword of process"),
        (underscored, "'_size' has a name that pydantic keeps"),
        (shadowing, "'model_dump' has a name that pydantic keeps"),
        (of_arrays, "a type that JSON cannot carry"),
        (of_functions, "a type that JSON cannot carry"),
        (of_sets, "a set has no order"),
        (wrong_default, "the default of 'size' cannot be 'big'"),
        (forward, "a type is not known when the algorithm is declared"),
    ],
)
def test_a_function_that_cannot_be_an_algorithm_is_refused(
    function: Callable[..., Any], reason: str
) -> None:
    """The message names the parameter and what is wrong with it, in one line."""
    with pytest.raises(AlgorithmError, match=reason) as refused:
        Algorithm("mean", "1.0.0", function)
    assert "\n" not in str(refused.value)


def test_every_keyword_beside_the_parameters_is_reserved() -> None:
    """A parameter can never be taken for a keyword of what runs it, or the other way round."""
    keywords: set[str] = set()
    for function in (process, reprocess, submit):
        keywords |= set(function.__kwdefaults__ or {})
    assert keywords == RESERVED


@pytest.mark.parametrize(
    "needs",
    [
        {"halo_frames": -1},
        {"tile_pixels": 8, "halo_pixels": -1},
        {"tile_pixels": 0},
        {"halo_pixels": 2},
    ],
)
def test_impossible_needs_are_refused(needs: dict[str, int]) -> None:
    """A halo is not negative, a tile not empty, and pixels lie around tiles only."""
    with pytest.raises(AlgorithmError):
        Blockwise(**needs)


def test_needs_are_given_as_an_object() -> None:
    """A class in place of an object is refused rather than guessed at."""
    with pytest.raises(AlgorithmError, match=r"WholeRun\(...\)"):
        Algorithm("mean", "1.0.0", mean, WholeRun)  # type: ignore[arg-type]


def test_an_algorithm_is_called_like_its_function() -> None:
    """The function stays usable by itself."""
    frames = xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("t", "x"))
    xr.testing.assert_identical(Algorithm("mean", "1.0.0", mean)(frames), frames.mean("t"))
