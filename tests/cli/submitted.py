"""Algorithms, runs, and a service for the commands that deal with jobs."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Forebay, Outcome

from forebay import ExitCode, acquire, open_source
from forebay.engine import REGISTRY
from forebay.engine.execution.serve import serve
from forebay.engine.queue.database import Database

SECONDS = 60


type Serving = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record the run ``cell`` once: eight frames in blocks of two."""
    path = tmp_path_factory.mktemp("recorded") / "cell"
    with open_source("simulated:shape=16x16", frames=8) as source:
        acquire(source, path, frames_per_block=2)
    return path


@pytest.fixture
def cell(forebay: Forebay, tmp_path: Path, written: Path, recorded: Path) -> str:
    """Give a copy of the run, and settings that know the algorithms."""
    (tmp_path / "forebay.toml").write_text(f"engine.algorithm_modules = [{str(written)!r}]\n")
    shutil.copytree(recorded, tmp_path / "cell")
    return "cell"


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Serve a ledger from a thread of this process, as long as a block lasts."""

    @contextmanager
    def service(ledger: Path | None = None) -> Iterator[None]:
        stop, ready = threading.Event(), threading.Event()
        with Database(ledger or tmp_path / "results" / "ledger.sqlite") as database:

            def work() -> None:
                serve(
                    database,
                    lambda: nullcontext(None),
                    REGISTRY.get,
                    stop=stop,
                    on_ready=lambda _: ready.set(),
                )

            thread = threading.Thread(target=work)
            thread.start()
            try:
                assert ready.wait(SECONDS)
                yield
            finally:
                stop.set()
                thread.join(SECONDS)
                assert not thread.is_alive()

    return service


def done(outcome: Outcome) -> Outcome:
    """Return what a command has printed, which has done what was asked."""
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.fixture
def failed(forebay: Forebay, cell: str, serving: Serving) -> Iterator[list[dict[str, Any]]]:
    """Give the dead letters of job 1, whose last two units of four have failed."""
    with serving():
        outcome = forebay("jobs", "submit", "picky", cell, "-p", "cure=cure.txt", "--wait")
        assert outcome.code == ExitCode.INCOMPLETE, outcome.err
        assert "job 1 has failed: 2 of 4 units published, 2 dead letters" in outcome.out
        yield forebay("dead", "list", "--json").json
