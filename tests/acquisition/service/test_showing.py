"""What is committed is shown to readers that know only Zarr, and nobody waits for that."""

import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import zarr

from forebay.acquisition import AcquisitionStatus, Frame, Geometry, ImageMetadata, acquire
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderStorage

ENOUGH_SECONDS = 20.0
FRAMES = 400

type Show = Callable[[FolderStorage, Mapping[str, bytes]], None]


class Camera:
    """A source that ends when it is told to, and can wait."""

    def __init__(self, *, until: threading.Event) -> None:
        self.geometry = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self._until = until

    def frames(self) -> Iterator[Frame]:
        for counter in range(FRAMES):
            yield Frame(counter, counter, np.full((3, 4), counter, "uint16"))
        assert self._until.wait(ENOUGH_SECONDS)

    def stop(self) -> None:
        self._until.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def record(
    folder: Path, *, until: threading.Event, on_status: Callable[[AcquisitionStatus], None]
) -> AcquisitionStatus:
    settings = AcquisitionSettings(frames_per_block=4, show_seconds=0.0)
    return acquire(Camera(until=until), folder, settings=settings, on_status=on_status)


def test_blocks_are_committed_while_others_are_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the file system takes to replace the metadata."""
    show: Show = FolderStorage.show
    all_committed, waited = threading.Event(), []

    def show_late(self: FolderStorage, documents: Mapping[str, bytes]) -> None:
        waited.append(all_committed.wait(ENOUGH_SECONDS))
        show(self, documents)

    def look(status: AcquisitionStatus) -> None:
        if status.committed == FRAMES:
            all_committed.set()

    monkeypatch.setattr(FolderStorage, "show", show_late)
    status = record(tmp_path / "run", until=all_committed, on_status=look)
    assert status.committed == FRAMES
    assert waited
    assert all(waited)
    assert zarr.open_array(tmp_path / "run" / "frames", mode="r").shape[0] == FRAMES


def test_where_there_is_no_room_to_show_it_is_tried_again_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not without a pause: that would take the processor from the recording."""
    show: Show = FolderStorage.show
    tried: list[float] = []
    shown = threading.Event()

    def refuse_twice(self: FolderStorage, documents: Mapping[str, bytes]) -> None:
        tried.append(time.monotonic())
        if len(tried) <= 2:
            raise OSError(errno.ENOSPC, "no room")
        show(self, documents)
        shown.set()

    monkeypatch.setattr(FolderStorage, "show", refuse_twice)
    monkeypatch.setattr("forebay.acquisition.run.writing.commit._NOT_READY_SECONDS", 0.2)
    status = record(tmp_path / "run", until=shown, on_status=lambda _: None)
    assert status.committed == FRAMES
    first, second, third = tried[:3]
    assert second - first >= 0.2
    assert third - second >= 0.2
