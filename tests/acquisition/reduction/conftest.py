"""Frames and images to reduce."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction import bands

CAMERA = Geometry(("y", "x"), (24, 36), np.dtype("uint16"))
COLOUR = Geometry(("c", "y", "x"), (2, 24, 36), np.dtype("uint16"))


@pytest.fixture(scope="module", autouse=True)
def narrow_bands() -> Iterator[None]:
    """Cut the small frames of these tests into bands, as large ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "BAND_PIXELS", 100)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Give random numbers, the same each time."""
    return np.random.default_rng(7)


@pytest.fixture(params=[CAMERA, COLOUR], ids=["grey", "colour"])
def geometry(request: pytest.FixtureRequest) -> Geometry:
    """Give the layout of a camera's frames, without and with channels."""
    layout: Geometry = request.param
    return layout


@pytest.fixture
def raw(geometry: Geometry, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Give nine frames: dark ones, bright ones, and pixels at both ends of their type."""
    level = rng.integers(90, 400, (9, *[1] * len(geometry.shape)))
    frames = rng.poisson(level, (9, *geometry.shape)).astype(geometry.dtype)
    frames[rng.random(frames.shape) < 0.02] = 65_535
    frames[rng.random(frames.shape) < 0.02] = 0
    return frames


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> dict[str, Path]:
    """Give files with a dark image and an even field that has two dead pixels."""
    dark = rng.uniform(95, 105, CAMERA.shape)
    flat = dark + rng.uniform(500, 1500, CAMERA.shape)
    flat[3, 5], flat[20, 35] = dark[3, 5], 0
    paths = {"dark": tmp_path / "dark.npy", "flat": tmp_path / "flat.npy"}
    np.save(paths["dark"], dark.astype(np.float32))
    np.save(paths["flat"], flat.astype(np.float32))
    return paths
