"""Threads hand the interpreter over sooner while frames are recorded, and then as before."""

import sys
from collections.abc import Iterator

import pytest

from forebay.acquisition.service.interpreter import LONGEST_TURN, prompt_interpreter


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    """What it is without anybody's doing."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield sys.getswitchinterval()
    sys.setswitchinterval(before)


def test_the_last_block_that_is_left_puts_it_back(usual: float) -> None:
    """Blocks that overlap, left in the order in which they were entered."""
    first, second = prompt_interpreter(), prompt_interpreter()
    with first:
        assert sys.getswitchinterval() == pytest.approx(LONGEST_TURN)
        second.__enter__()
    assert sys.getswitchinterval() == pytest.approx(LONGEST_TURN)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == usual


def test_what_is_shorter_already_stays() -> None:
    """Who has set less than that has a reason."""
    sys.setswitchinterval(LONGEST_TURN / 10)
    shorter = sys.getswitchinterval()
    with prompt_interpreter():
        assert sys.getswitchinterval() == pytest.approx(shorter, abs=2e-6)


def test_a_block_that_is_left_by_an_error_puts_it_back(usual: float) -> None:
    """A recording that fails changes nothing for those after it."""
    with pytest.raises(ValueError, match="failed"), prompt_interpreter():
        raise ValueError("failed")
    assert sys.getswitchinterval() == usual
