"""What all tests have in common."""

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from _pytest.doctest import DoctestModule
from hypothesis import settings
from tests.warmed import programs, wait_for

# How long an example takes says more of the machine than of the code.
settings.register_profile("forebay", deadline=None, max_examples=20)
# pytest --hypothesis-profile=thorough
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("forebay")


# What one of the many interpreters that tests start has compiled, the next one need not.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# What a shell starts in the background does not notice SIGINT, nor do the commands of tests then.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_SLOW = ("fault", "slurm", "whole", "postgres", "s3", "camera")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "part_of(name): left out where that test of its module runs, which does all of it",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for examples in docstrings of the package only: tests have none."""
    found = yield
    return [each for each in found if not isinstance(each, DoctestModule)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out a quick test where the one runs that takes each point of the same.

    Those that wait for other processes go first, so that there is work beside them to the end.
    """
    there = {(item.path, item.name) for item in items}
    parts = [
        item
        for item in items
        if (mark := item.get_closest_marker("part_of")) and (item.path, mark.args[0]) in there
    ]
    if parts:
        items[:] = [item for item in items if item not in parts]
        config.hook.pytest_deselected(items=parts)
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in _SLOW))


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


_WARMED = pytest.StashKey[tuple[ExitStack, Path]]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Fork the workers of pytest-xdist, and their commands, from one that has imported all.

    That is the package and the tests: to import, and to rewrite their assertions, once is enough.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fb-")))
        own = stack.enter_context(programs(folder, config.invocation_params.args))
        wait_for(own)
        config.stash[_WARMED] = stack.pop_all(), own
    for spec in specs:
        spec.python = str(own / "python")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["warmed"] = str(node.config.stash[_WARMED][1])


def pytest_unconfigure(config: pytest.Config) -> None:
    if _WARMED in config.stash:
        config.stash[_WARMED][0].close()


@pytest.fixture(scope="session")
def warmed(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with ``forebay`` and ``python``, which do not import again what they need."""
    with ExitStack() as stack:
        if "warmed" in (shared := getattr(request.config, "workerinput", {})):
            own = Path(shared["warmed"])
        else:
            folder = stack.enter_context(TemporaryDirectory(prefix="fb-"))
            own = stack.enter_context(programs(Path(folder)))
            wait_for(own)
        yield own
