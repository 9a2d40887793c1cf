"""What an earlier writer has left on the second path is given back."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.journal.spilled import (
    RUN_ID,
    Make,
    Open,
    counters,
    counters_of,
    empty,
    spill,
    take_all,
)

from forebay.acquisition import Dropped, Geometry
from forebay.acquisition.errors import RunDamagedError, RunExistsError
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import SpillQueue

__all__ = ["spill"]


class TestRecovery:
    """What a writer that died had spilled and not committed."""

    def leave(self, spill: Open, frame: Make, *, frames: int = 8, taken: int = 0) -> Path:
        """Put frames as a writer does that is killed: nothing is flushed or closed in order."""
        queue = spill()
        for counter in range(frames):
            queue.put(frame(counter))
        for _ in range(taken):
            queue.take(empty())
        queue.journal._end()
        queue._cursor.close()
        return queue.journal.folder

    def test_it_is_given_back_first(self, spill: Open, frame: Make) -> None:
        self.leave(spill, frame)
        with spill(epoch=2, recover=True) as queue:
            assert len(queue) == 8
            assert queue.put(frame(8))
            assert counters(queue) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
            queue.free_through(5)
            names = sorted(path.name for path in queue.journal.folder.iterdir())
            assert names == ["00000001-00000002.segment", "00000002-00000000.segment"]

    def test_what_was_taken_and_not_committed_is_given_back(self, spill: Open, frame: Make) -> None:
        self.leave(spill, frame, taken=6)
        with spill(epoch=2, recover=True, after=3) as queue:
            assert len(queue) == 4
            assert counters(queue) == [4, 5, 6, 7]

    def test_it_counts_towards_the_capacity(self, spill: Open, frame: Make) -> None:
        self.leave(spill, frame, frames=9)
        with spill(epoch=2, recover=True, segments=4) as queue:
            assert [queue.put(frame(counter)) for counter in range(9, 13)] == [True] * 3 + [False]
            take_all(queue)
            queue.free_through(2)
            assert queue.put(frame(12))

    def test_it_has_to_be_wanted(self, spill: Open, frame: Make) -> None:
        """A new queue would hide it."""
        self.leave(spill, frame)
        with pytest.raises(RunExistsError, match="did not commit: take them over"):
            spill(epoch=2)

    def test_of_what_was_dropped_the_rest_is_given_back_once(
        self, spill: Open, frame: Make
    ) -> None:
        """A part of it may be committed; and a writer that spills anew may tell it again."""
        with spill() as queue:
            queue.put(frame(10), dropped=[Dropped(2, 9, "lost", 0)])
        with spill(epoch=2, recover=True, after=5) as queue:
            queue.put(frame(12), dropped=[Dropped(8, 11, "lost", 0)])
        with spill(epoch=3, recover=True, after=5) as queue:
            taken = take_all(queue)
        assert [(each.first, each.last) for all_ in taken for each in all_.dropped] == [
            (6, 9),
            (11, 11),
        ]
        assert [each.frame.counter for each in taken if each.frame] == [10, 12]

    def test_a_torn_end_is_no_damage(self, spill: Open, frame: Make) -> None:
        folder = self.leave(spill, frame)
        last = folder / "00000001-00000002.segment"
        os.truncate(last, 4096 + 128 + 80)
        with spill(epoch=2, recover=True) as queue:
            assert len(queue) == 7
            assert counters(queue) == [0, 1, 2, 3, 4, 5, 6]

    @pytest.mark.parametrize(
        ("place", "left"),
        [(10, [3, 4, 5, 6, 7]), (4096 + 128 + 20, [0, 3, 4, 5, 6, 7])],
    )
    def test_damage_is_told_once_and_the_rest_is_given_back(
        self, spill: Open, frame: Make, place: int, left: list[int]
    ) -> None:
        """The segment that is damaged stays on disk for people, until everything is removed."""
        folder = self.leave(spill, frame)
        segment = folder / "00000001-00000000.segment"
        content = bytearray(segment.read_bytes())
        content[place] ^= 1
        segment.write_bytes(content)
        with spill(epoch=2, recover=True) as queue:
            assert len(queue) == len(left)
            assert [counters_of(queue.take(empty())) for _ in left[:-5]] == left[:-5]
            with pytest.raises(RunDamagedError, match="00000001-00000000"):
                queue.take(empty())
            assert counters(queue) == left[-5:]
            queue.free_through(7)
            assert segment.exists()
            queue.remove()
            assert not folder.exists()

    def test_damage_that_comes_later_leaves_the_number_of_frames_right(
        self, spill: Open, frame: Make
    ) -> None:
        self.leave(spill, frame, frames=6)
        with spill(epoch=2, recover=True) as queue:
            queue.take(empty())
            first = min(queue.journal.folder.glob("*.segment"))
            content = bytearray(first.read_bytes())
            content[4096 + 128] ^= 1
            first.write_bytes(content)
            with pytest.raises(RunDamagedError, match="1 records from number 1 on have changed"):
                queue.take(empty())
            assert len(queue) == 4
            assert counters(queue) == [2, 3, 4, 5]
            assert len(queue) == 0

    def test_frames_of_another_layout_are_not_given_back(
        self, spill: Open, frame: Make, memory: Callable[[], Path]
    ) -> None:
        folder = self.leave(spill, frame)
        other = Geometry(("y", "x"), (4, 3), np.dtype("uint16"))
        queue = SpillQueue.recover(folder.parent, RUN_ID, other, epoch=2, room=Room(10**6))
        with queue, pytest.raises(RunDamagedError, match=r"shape=\(3, 4\).* not .*shape=\(4, 3\)"):
            queue.take(np.zeros((4, 3), "uint16"))
