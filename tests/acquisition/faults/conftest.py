"""Processes to do harm to."""

from collections.abc import Iterator

import pytest
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.interception import is_possible


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What starts recordings."""
    if not is_possible():
        pytest.skip("the calls of a process can be followed on Linux on x86-64 only")
    with Forks.elsewhere() as forks:
        yield forks
