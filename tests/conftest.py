"""What all tests have in common."""

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("forebay", deadline=None)
settings.load_profile("forebay")


@pytest.fixture(scope="session", autouse=True)
def runtime_folder() -> Iterator[None]:
    """Sockets of acquisitions lie in a folder of the tests' own, with a short path."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    with TemporaryDirectory(prefix="fb-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before
