"""One changed byte, anywhere in what was committed, is never read as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import Frame, Geometry, ImageMetadata, RunWriter, open_run, verify_run
from forebay.acquisition.errors import RunDamagedError

SHAPE = (5, 7)


@pytest.fixture(scope="module", params=["none", "blosc-lz4"])
def run(
    request: pytest.FixtureRequest, memory: Callable[[], Path]
) -> tuple[Path, npt.NDArray[Any]]:
    """A closed run of three epochs, with a short last block and frames that were dropped."""
    path = memory() / "flipped"
    pixels = np.random.default_rng(3).integers(0, 4096, (7, *SHAPE)).astype("uint16")
    writer = RunWriter.create(
        path,
        Geometry(("y", "x"), SHAPE, np.dtype("uint16")),
        frames_per_block=2,
        compression=request.param,
        metadata=ImageMetadata(pixel_size=(0.1, 0.2), exposure=0.5, instrument={"gain": 3}),
    )
    for counter, frame in enumerate(pixels):
        writer.append(Frame(counter * 2, counter, frame))
        if counter in {1, 3}:
            writer.abandon()
            writer = RunWriter.resume(path)
    writer.close()
    return path, pixels


def is_noticed(path: Path, pixels: npt.NDArray[Any], changed: Path) -> bool:
    """Read and verify the run; tell whether either names what was changed."""
    key = changed.relative_to(path).as_posix()
    try:
        opened = open_run(path)
        problems = verify_run(opened).problems
        frames = opened.frames.compute()
    except RunDamagedError as error:
        return key in str(error) or key.startswith("_forebay/log")
    np.testing.assert_array_equal(frames, pixels)
    assert [int(each) for each in frames.frame_id.to_numpy()] == [0, 2, 4, 6, 8, 10, 12]
    return any(problem.key == key and key in problem.what for problem in problems)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_noticed(
    data: st.DataObject, run: tuple[Path, npt.NDArray[Any]]
) -> None:
    """Opening, reading or verifying names the file; no pixel and no counter is ever another one."""
    path, pixels = run
    files = sorted(
        each for each in path.rglob("*") if each.is_file() and each.name != "writer.lock"
    )
    assert len(files) == 5 + 4 * 4 + 3
    changed = data.draw(st.sampled_from(files), label="file")
    whole = changed.read_bytes()
    offset = data.draw(st.integers(0, len(whole) - 1), label="offset")
    flip = data.draw(st.integers(1, 255), label="flip")
    content = bytearray(whole)
    content[offset] ^= flip
    changed.write_bytes(content)
    try:
        assert is_noticed(path, pixels, changed) or says_the_same(content, whole)
    finally:
        changed.write_bytes(whole)


def says_the_same(content: bytearray, whole: bytes) -> bool:
    """A blank in JSON that became another blank has changed nothing that anybody reads."""
    try:
        return bool(json.loads(content) == json.loads(whole))
    except ValueError:
        return False
