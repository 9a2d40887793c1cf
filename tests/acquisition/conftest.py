"""Runs to test with."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition import Frame, Geometry, RunWriter

type Write = Callable[..., npt.NDArray[Any]]


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Give a new folder at each call: in memory where there is such a place, for flushes cost."""
    shared = Path("/dev/shm")
    base = shared if os.access(shared, os.W_OK) else tmp_path_factory.mktemp("runs")
    with TemporaryDirectory(dir=base) as folder:
        count = itertools.count()

        def new() -> Path:
            (path := Path(folder) / str(next(count))).mkdir()
            return path

        yield new


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """Write a run of random frames and return them."""

    def write(
        name: str = "run",
        *,
        frames: int = 10,
        frames_per_block: int = 4,
        shape: tuple[int, ...] = (6, 8),
        dtype: str = "uint16",
        close: bool = True,
        **options: Any,
    ) -> npt.NDArray[Any]:
        generator = np.random.default_rng(7)
        data = generator.integers(0, 200, (frames, *shape)).astype(dtype)
        dims = ("c", "y", "x")[-len(shape) :]
        writer = RunWriter.create(
            tmp_path / name,
            Geometry(dims, shape, np.dtype(dtype)),
            frames_per_block=frames_per_block,
            **options,
        )
        for counter, pixels in enumerate(data):
            writer.append(Frame(counter, 1_000_000_000 * (counter + 1), pixels))
        if close:
            writer.close()
        else:
            writer.abandon()
        return data

    return write
