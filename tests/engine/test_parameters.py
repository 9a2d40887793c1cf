"""Binding parameters: the given ones are checked and become the types that are declared."""

import enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from forebay.engine import Algorithm
from forebay.engine.errors import ParameterError


class Mode(enum.Enum):
    """How to do it."""

    FAST = "fast"
    EXACT = "exact"


def find(
    frames: Any,
    *,
    threshold: float,
    diameter: Annotated[int, Field(ge=3)] = 11,
    invert: bool = False,
    mode: Mode = Mode.FAST,
    box: tuple[int, int] = (4, 4),
    mask: Path | None = None,
) -> None: ...


FIND = Algorithm("find", "1.0.0", find)
DEFAULTS = {"diameter": 11, "invert": False, "mode": "fast", "box": [4, 4], "mask": None}


def test_texts_are_read_as_the_type_of_the_parameter() -> None:
    """The command line gives texts, and means numbers."""
    bound = FIND.bind({"threshold": "2.5", "diameter": "9", "invert": "yes", "mode": "exact"})
    assert bound == {**DEFAULTS, "threshold": 2.5, "diameter": 9, "invert": True, "mode": "exact"}


def test_the_same_values_bind_to_the_same_json() -> None:
    """However they are written, equal values give equal JSON, and so the same job."""
    assert FIND.bind({"threshold": "2"}) == FIND.bind({"threshold": 2, "diameter": 11.0})
    assert FIND.bind({"threshold": 2, "box": (4, 4)}) == FIND.bind({"threshold": 2.0})


def test_the_function_gets_the_types_that_it_declares() -> None:
    """What went through JSON comes back as an enum, a tuple and a path."""
    bound = FIND.bind({"threshold": 1, "mode": "exact", "mask": "/flat/mask.png"})
    arguments = FIND.arguments(bound)
    assert arguments["mode"] is Mode.EXACT
    assert arguments["box"] == (4, 4)
    assert arguments["mask"] == Path("/flat/mask.png")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "find-1.0.0 needs the parameter 'threshold': give it as threshold=VALUE"),
        ({"treshold": 1}, "has no parameter 'treshold'; did you mean 'threshold'?; it has "),
        ({"threshold": 1, "zzz": 1}, "has no parameter 'zzz'; it has threshold, diameter"),
        ({"threshold": "high"}, "parameter 'threshold' cannot be 'high'"),
        ({"threshold": 1, "diameter": 2}, "parameter 'diameter' cannot be 2"),
        ({"threshold": 1, "diameter": 4.5}, "parameter 'diameter' cannot be 4.5"),
        ({"threshold": float("nan")}, "parameter 'threshold' cannot be nan"),
        ({"threshold": 1, "mode": "slow"}, "parameter 'mode' cannot be 'slow'"),
        ({"threshold": "x" * 10_000}, "parameter 'threshold' cannot be 'xxxx"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(given: dict[str, Any], message: str) -> None:
    """The message says which parameter, what was given, and what would do."""
    with pytest.raises(ParameterError) as refused:
        FIND.bind(given)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_an_algorithm_without_parameters_says_so() -> None:
    """Where there are no parameters, none is suggested."""

    def plain(frames: Any) -> None: ...

    with pytest.raises(ParameterError, match="it has none"):
        Algorithm("plain", "1.0.0", plain).bind({"size": 1})
