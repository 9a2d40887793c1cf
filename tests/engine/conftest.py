"""Runs and clusters to test with."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run
from forebay.cluster import LocalClusterSpecification, connect

type WriteRun = Callable[..., Run]


@pytest.fixture(scope="session")
def written_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write runs of random frames, each one once: flushing them takes most of a test's time."""
    written: dict[object, Path] = {}

    def write(
        name: str, *, frames: int, frames_per_block: int, shape: tuple[int, ...], close: bool
    ) -> Path:
        key = (name, frames, frames_per_block, shape, close)
        if key in written:
            return written[key]
        path = tmp_path_factory.mktemp("runs") / Path(name).name
        writer = RunWriter.create(
            path,
            Geometry(("c", "y", "x")[-len(shape) :], shape, np.dtype("uint16")),
            frames_per_block=frames_per_block,
        )
        generator = np.random.default_rng(7)
        for counter in range(frames):
            pixels = generator.integers(0, 200, shape).astype("uint16")
            writer.append(Frame(counter, 1_000_000_000 * (counter + 1), pixels))
        if close:
            writer.close()
        else:
            writer.abandon()
        written[key] = path
        return path

    return write


@pytest.fixture
def write_run(tmp_path: Path, written_runs: Callable[..., Path]) -> WriteRun:
    """Give a run of random frames that the test has for itself."""

    def write(
        name: str = "run",
        *,
        frames: int = 10,
        frames_per_block: int = 4,
        shape: tuple[int, ...] = (6, 8),
        close: bool = True,
    ) -> Run:
        written = written_runs(
            name, frames=frames, frames_per_block=frames_per_block, shape=shape, close=close
        )
        shutil.copytree(written, tmp_path / name)
        return open_run(tmp_path / name)

    return write


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Give a client of a cluster of two worker processes."""
    with connect(LocalClusterSpecification(workers=2)) as connected:
        yield connected
