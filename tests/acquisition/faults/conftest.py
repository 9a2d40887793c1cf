"""Processes to do harm to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.interception import is_possible


@pytest.fixture(scope="session")
def forks(warmed: Path) -> Iterator[Forks]:
    """What starts recordings."""
    if not is_possible():
        pytest.skip("the calls of a process can be followed on Linux on x86-64 only")
    with Forks.elsewhere(warmed / "python") as forks:
        yield forks
