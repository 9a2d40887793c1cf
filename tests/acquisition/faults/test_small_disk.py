"""A disk that is smaller than what a journal usually begins with is used for what it holds."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.faults.checks import check_whole
from tests.acquisition.faults.disks import in_memory
from tests.acquisition.faults.recordings import RUN, ListedSource

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.errors import NoSpaceError
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import SpillQueue
from forebay.acquisition.service.prepare import prepare, prepare_again
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.room import free_bytes

pytestmark = pytest.mark.fault

LARGE = Geometry(("y", "x"), (256, 256), np.dtype("uint16"))
FRAMES = 80
SETTINGS = AcquisitionSettings(durability="frame", frames_per_block=4)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB in memory."""
    with in_memory(tmp_path / "disk", megabytes=64) as path:
        yield path


@pytest.mark.parametrize("declared", [FRAMES, None])
def test_each_frame_is_safe_on_a_small_disk_as_well(small: Path, declared: int | None) -> None:
    """A run of 10 MiB needs no 256, whether its length is known beforehand or not."""
    source = ListedSource(range(FRAMES), LARGE)
    acquisition = prepare(source, small / RUN, settings=SETTINGS, expected_frames=declared)
    status = acquisition.run()
    assert (status.committed, status.dropped) == (FRAMES, 0)
    check_whole(small / RUN, range(FRAMES), LARGE)


def test_going_on_takes_no_more_than_the_disk_has(small: Path) -> None:
    """Whoever began the run."""
    RunWriter.create(small / RUN, LARGE, frames_per_block=4).abandon()
    source = ListedSource(range(FRAMES), LARGE)
    status = prepare_again(source, small / RUN, settings=SETTINGS).run()
    assert (status.committed, status.dropped) == (FRAMES, 0)
    check_whole(small / RUN, range(FRAMES), LARGE)


def test_segments_that_a_journal_keeps_for_later_give_way_to_frames(small: Path) -> None:
    """The last blocks fit only where two of them have been."""
    source = ListedSource(range(320), LARGE)
    status = prepare(source, small / RUN, settings=SETTINGS).run()
    assert (status.committed, status.dropped) == (320, 0)
    check_whole(small / RUN, range(320), LARGE)


@pytest.mark.parametrize(
    ("frames", "what"), [(300, "300 frames"), (None, "150 frames, one block,")]
)
def test_what_has_no_room_beside_its_journal_is_refused_before_a_run_is_made(
    small: Path, frames: int | None, what: str
) -> None:
    """Compressed or not; without the journal it has."""
    for compression in ("none", "zstd"):
        settings = AcquisitionSettings(
            durability="frame", frames_per_block=150, compression=compression
        )
        (small / "ballast").write_bytes(bytes(48 << 20))
        with pytest.raises(NoSpaceError, match=rf"{what} and their journal need.*free: make"):
            prepare(ListedSource([], LARGE), small / RUN, settings=settings, expected_frames=frames)
        (small / "ballast").unlink()
        assert list(small.iterdir()) == []


def test_a_small_second_path_is_used_in_small_pieces(small: Path) -> None:
    """A disk on which there is room for less than a piece of the usual size took no frame at all."""
    queue = SpillQueue.recover(
        small,
        str(uuid.uuid4()),
        LARGE,
        epoch=1,
        after=None,
        room=Room(spares=0).fitted(LARGE, free=free_bytes(small)),
        clock=SYSTEM_CLOCK,
    )
    frames = [Frame(each, each, np.full((256, 256), each, "uint16")) for each in range(FRAMES)]
    assert all(queue.put(frame, dropped=[]) for frame in frames)
    assert len(queue) == FRAMES
    queue.remove()
