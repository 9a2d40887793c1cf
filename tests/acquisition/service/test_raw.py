"""Every so many frames are kept as they came, in a run beside the reduced one."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    Geometry,
    ImageMetadata,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import RunExistsError, SourceError
from forebay.acquisition.settings import AcquisitionSettings

FRAMES = 61


class Camera:
    """A camera of large frames, or of small ones."""

    def __init__(self, shape: tuple[int, int] = (3, 4)) -> None:
        self.geometry = Geometry(("y", "x"), shape, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True

    def frames(self) -> Iterator[Frame]:
        for counter in range(FRAMES):
            yield Frame(counter, counter, np.full(self.geometry.shape, counter, "uint16"))

    def stop(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def record(path: Path, camera: Camera, *, every: int = 10, **changes: Any) -> AcquisitionStatus:
    reduction = {"steps": ["region:0:1,0:1"], "keep_raw_every": every}
    known = {"frames_per_block": 4, "reduction": reduction}
    return acquire(camera, path, settings=AcquisitionSettings.model_validate({**known, **changes}))


def test_every_so_many_frames_are_kept_as_they_came(tmp_path: Path) -> None:
    """Beside the reduced run, in a run NAME.raw, for validation."""
    record(tmp_path / "run", Camera())
    run, raw = open_run(tmp_path / "run"), open_run(tmp_path / "run.raw")
    assert run.frames.shape == (FRAMES, 1, 1)
    kept = list(range(0, FRAMES, 10))
    assert raw.frames.frame_id.to_numpy().tolist() == kept
    assert raw.frames.to_numpy()[:, 2, 3].tolist() == kept
    assert raw.frames.shape[1:] == (3, 4)
    assert raw.closed
    assert verify_run(raw).ok
    assert {each.reason for each in raw.dropped} == {"only one frame of 10 is kept as it came"}
    assert raw.layout.provenance == {"raw_of": "run", "raw_of_run_id": run.run_id, "every": 10}
    assert run.layout.provenance["reduction"]


def test_where_those_have_no_place_no_run_is_begun(tmp_path: Path) -> None:
    """Nothing is left that would be in the way of the next try."""
    (tmp_path / "run.raw").mkdir()
    with pytest.raises(RunExistsError, match=r"run\.raw exists already"):
        record(tmp_path / "run", Camera())
    assert [each.name for each in tmp_path.iterdir()] == ["run.raw"]
    (tmp_path / "run.raw").rmdir()
    assert record(tmp_path / "run", Camera()).committed == FRAMES


def test_where_those_have_no_room_in_memory_no_run_is_begun(tmp_path: Path) -> None:
    """Nor are threads left that wait for its frames."""
    with pytest.raises(SourceError, match="does not fit into memory"):
        record(tmp_path / "run", Camera((2**14, 2**14)), buffer_bytes=1, frames_per_block=2**16)
    assert list(tmp_path.iterdir()) == []
    assert not [each for each in threading.enumerate() if each.name.startswith("forebay-")]


def test_frames_that_are_not_selected_are_not_lost(tmp_path: Path) -> None:
    """They are dropped as declared, however much room there is: nothing is strained."""
    settings = AcquisitionSettings.model_validate(
        {"reduction": {"steps": ["select:every=2"]}, "frames_per_block": 1}
    )
    flows = set()
    status = acquire(
        Camera(),
        tmp_path / "run",
        settings=settings,
        on_status=lambda status: flows.add(status.flow),
    )
    assert (status.committed, status.dropped) == (31, 30)
    assert "dropping" not in {*flows, status.flow}
