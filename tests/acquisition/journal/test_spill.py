"""What is spilled comes back in order and unchanged, also after a kill; no room is no error."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acquisition.journal.spilled import (
    GEOMETRY,
    RUN_ID,
    SEGMENT,
    Make,
    Open,
    counters,
    counters_of,
    empty,
    spill,
)

from forebay.acquisition import Dropped, Frame, FrameFlag
from forebay.acquisition.errors import RunDamagedError, StorageError
from forebay.acquisition.journal.group_commit import GroupCommit
from forebay.acquisition.journal.journal import Window
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import SpillQueue
from forebay.acquisition.sources.testing.clock import ManualClock

__all__ = ["spill"]


def test_frames_come_back_in_order_with_what_was_dropped_before_them(
    spill: Open, frame: Make
) -> None:
    lost = (Dropped(1, 2, "the queue was full", 5), Dropped(3, 3, "late", 6))
    with spill() as queue:
        assert queue.take(empty()) is None
        assert queue.put(frame(0, FrameFlag.REDUCED))
        assert queue.put(frame(4), dropped=lost)
        assert len(queue) == 2
        into = empty()
        first, second, nothing = queue.take(into), queue.take(empty()), queue.take(into)
        assert len(queue) == 0
    assert first
    assert first.frame
    assert second
    assert second.frame
    assert nothing is None
    assert (first.dropped, second.dropped) == ((), lost)
    assert first.frame.data is into
    assert (first.frame.timestamp, first.frame.flags) == (0, FrameFlag.REDUCED)
    np.testing.assert_array_equal(into, frame(0).data)
    np.testing.assert_array_equal(second.frame.data, frame(4).data)


def test_a_full_queue_takes_nothing_until_something_is_freed(spill: Open, frame: Make) -> None:
    """Taking makes no room: what was taken is not committed yet, and would be lost in a kill."""
    with spill(segments=2) as queue:
        assert [queue.put(frame(counter)) for counter in range(8)] == [True] * 6 + [False] * 2
        assert (len(queue), queue.bytes) == (6, 2 * SEGMENT)
        for _ in range(4):
            queue.take(empty())
        assert not queue.put(frame(6))
        queue.free_through(3)
        assert queue.put(frame(6))
        assert counters(queue) == [4, 5, 6]


def test_what_is_not_taken_is_not_freed(spill: Open, frame: Make) -> None:
    with spill() as queue:
        for counter in range(7):
            queue.put(frame(counter))
        queue.take(empty())
        queue.free_through(100)
        assert counters(queue) == [1, 2, 3, 4, 5, 6]


def test_no_space_is_no_error(spill: Open, frame: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue has no room then; a second later, or when something is freed, it asks again."""
    clock, asked = ManualClock(), 0

    def no_space(*_: object) -> None:
        nonlocal asked
        asked += 1
        raise OSError(28, "No space left on device")

    with spill(clock=clock) as queue:
        for counter in range(3):
            queue.put(frame(counter))
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", no_space)
            assert [queue.put(frame(3)) for _ in range(5)] == [False] * 5
            assert asked == 1
            clock.advance(1.0)
            assert not queue.put(frame(3))
            assert asked == 2
            queue.free_through(0)
            assert not queue.put(frame(3))
            assert asked == 3
        clock.advance(1.0)
        assert queue.put(frame(3))
        assert counters(queue) == [0, 1, 2, 3]


ON_A_SMALL_DISK = """
import sys, numpy as np
from pathlib import Path
from forebay.acquisition import Frame, Geometry
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import SpillQueue
from forebay.acquisition.sources.testing.clock import ManualClock

geometry, clock = Geometry(("y", "x"), (128, 128), np.dtype("uint16")), ManualClock()
room = Room(capacity_bytes=2**30, segment_bytes=256 * 2**10, spares=0)
queue = SpillQueue(sys.argv[1], "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10", geometry, epoch=1,
                   room=room, clock=clock)
put = 0
while queue.put(Frame(put, 0, np.full((128, 128), put, "uint16"))):
    put += 1
assert 15 <= put <= 32, put
clock.advance(1.0)
assert not queue.put(Frame(put, 0, np.full((128, 128), put, "uint16")))
pixels = np.zeros((128, 128), "uint16")
for counter in range(14):
    assert queue.take(pixels).frame.counter == counter and (pixels == counter).all()
queue.free_through(13)
assert queue.put(Frame(put, 0, np.full((128, 128), put, "uint16")))
while queue.take(pixels):
    pass
assert (pixels == put).all()
queue.remove()
assert not list(Path(sys.argv[1]).iterdir())
"""


def test_a_disk_that_is_full_is_no_error(tmp_path: Path) -> None:
    """On a real file system of 1 MB: what fitted comes back, and room that is made is used."""
    inside = 'mount -t tmpfs -o size=1m forebay-test "$0" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", inside, str(tmp_path)]
    may_mount = (
        shutil.which("unshare")
        and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )
    if not may_mount:
        pytest.skip("this system does not let its users mount a file system of their own")
    done = subprocess.run(
        [*command, sys.executable, "-W", "error", "-c", ON_A_SMALL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("call", ["pwritev", "posix_fallocate", "fsync"])
def test_a_device_that_fails_is_an_error(
    spill: Open, frame: Make, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Nothing is put any more, and what is there can be taken."""

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with spill() as queue:
        for counter in range(3):
            queue.put(frame(counter))
        with monkeypatch.context() as patch:
            patch.setattr(os, call, broken)
            with pytest.raises(StorageError, match="the device reported an I/O error"):
                queue.put(frame(3))
        with pytest.raises(StorageError, match="has ended"):
            queue.put(frame(3))
        assert counters(queue) == [0, 1, 2]


def test_a_device_that_does_not_read_is_an_error(
    spill: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with spill() as queue:
        queue.put(frame(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", broken)
            with pytest.raises(StorageError, match=r"cannot read .* back"):
                queue.take(empty())


def test_a_frame_that_changed_on_disk_is_left_out_and_told(spill: Open, frame: Make) -> None:
    with spill() as queue:
        for counter in range(5):
            queue.put(frame(counter))
        segment = queue.journal.folder / "00000001-00000000.segment"
        content = bytearray(segment.read_bytes())
        content[4096 + 128 + 70] ^= 1
        segment.write_bytes(content)
        assert counters_of(queue.take(empty())) == 0
        with pytest.raises(RunDamagedError, match=r"frame 1 has changed in .*: it is lost"):
            queue.take(empty())
        assert counters(queue) == [2, 3, 4]
        assert len(queue) == 0


@pytest.mark.parametrize(
    ("record", "left"),
    [
        (0, [1, 2, 3, 4, 5, 6]),
        (1, [0, 2, 3, 4, 5, 6]),
        (2, [0, 1, 3, 4, 5, 6]),
        (6, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_head_that_changed_on_disk_hides_no_frame_behind_it(
    spill: Open, frame: Make, record: int, left: list[int]
) -> None:
    """Where the next record begins is not known then, and is found; nothing is given twice."""
    with spill(segments=5) as queue:
        for counter in range(7):
            queue.put(frame(counter))
        segment = queue.journal.folder / f"00000001-0000000{record // 3}.segment"
        content = bytearray(segment.read_bytes())
        content[4096 + record % 3 * 128 + 40] ^= 1
        segment.write_bytes(content)
        taken, damage = [], 0
        while len(queue):
            try:
                taken.append(counters_of(queue.take(empty())))
            except RunDamagedError:
                damage += 1
                assert len(queue) == 7 - record - 1
        assert (taken, damage) == (left, 1)
        for counter in (7, 8, 9):
            queue.put(frame(counter))
        assert len(queue) == 3
        assert counters(queue) == [7, 8, 9]


def test_a_segment_that_is_gone_is_an_error(spill: Open, frame: Make) -> None:
    """It is not taken for an empty queue."""
    with spill() as queue:
        queue.put(frame(0))
        (queue.journal.folder / "00000001-00000000.segment").unlink()
        with pytest.raises(StorageError, match=r"cannot read .*: No such file"):
            queue.take(empty())


def test_one_thread_puts_while_another_takes(spill: Open, frame: Make) -> None:
    """Through many segments, with a third thread that flushes: each frame once, in order."""
    frames = 1000
    taken: list[int] = []
    with spill(segments=1000, window=Window(seconds=0.0)) as queue, GroupCommit(queue.journal):

        def put() -> None:
            for counter in range(frames):
                assert queue.put(frame(counter))

        thread = threading.Thread(target=put)
        thread.start()
        try:
            while len(taken) < frames:
                if spilled := queue.take(into := empty()):
                    taken.append(counters_of(spilled))
                    np.testing.assert_array_equal(into, frame(taken[-1]).data)
                    queue.free_through(taken[-1] - 5)
        finally:
            thread.join()
        assert queue.bytes <= 4 * SEGMENT
    assert taken == list(range(frames))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_changed_byte_is_given_as_a_frame_and_the_queue_comes_to_its_end(
    data: st.DataObject, memory: Callable[[], Path]
) -> None:
    """While it is written, or taken over: what comes is right, in order, and then it is empty."""
    folder, room = memory(), Room(6 * SEGMENT, SEGMENT, spares=0)
    queue = SpillQueue(folder, RUN_ID, GEOMETRY, epoch=1, room=room)
    for counter in range(11):
        lost = [Dropped(10 * counter - 3, 10 * counter - 1, "x", 0)] * (counter % 4 == 2)
        queue.put(Frame(10 * counter, 0, np.full((3, 4), counter, "uint16")), dropped=lost)
    if taken_over := data.draw(st.booleans()):
        queue.journal._end()
    for segment in sorted(queue.journal.folder.iterdir()):
        content = bytearray(segment.read_bytes())
        for _ in range(data.draw(st.integers(0, 2))):
            # The head of a segment is looked at when it is opened.
            content[data.draw(st.integers(4096, len(content) - 1))] ^= data.draw(
                st.integers(1, 255)
            )
        segment.write_bytes(content)
    if taken_over:
        queue = SpillQueue.recover(folder, RUN_ID, GEOMETRY, epoch=2, room=room)
    taken = []
    for _ in range(40):
        into = empty()
        with contextlib.suppress(RunDamagedError):
            spilled = queue.take(into)
            if spilled and spilled.frame:
                taken.append(spilled.frame.counter)
                assert (into == taken[-1] // 10).all()
    assert taken == sorted(set(taken))
    assert len(queue) == 0
    assert queue.take(empty()) is None
    queue.remove()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["put", "put", "put", "lose", "take", "take", "free", "die"]), max_size=60
    )
)
def test_it_is_a_queue_whatever_is_done_to_it(steps: list[str], memory: Callable[[], Path]) -> None:
    """The same as a plain queue in memory, with all that was not freed back in it after a death."""
    folder, room = memory(), Room(6 * SEGMENT, SEGMENT, spares=0)
    queue = SpillQueue(folder, RUN_ID, GEOMETRY, epoch=1, room=room)
    epoch, following, committed, last = 1, 0, -1, -1
    waiting: deque[int] = deque()
    held: deque[int] = deque()
    for step in steps:
        if step == "put":
            pixels = np.full((3, 4), following % 1000, "uint16")
            if queue.put(Frame(following, following, pixels)):
                waiting.append(following)
            following += 1
        elif step == "lose":
            following += 1
        elif step == "take":
            into = empty()
            spilled = queue.take(into)
            if waiting:
                last = counters_of(spilled)
                assert last == waiting.popleft()
                assert (into == last % 1000).all()
                held.append(last)
            else:
                assert spilled is None
        elif step == "free" and held:
            committed = held.popleft()
            queue.free_through(committed)
        elif step == "die":
            queue.journal._end()
            queue._cursor.close()
            epoch += 1
            queue = SpillQueue.recover(
                folder, RUN_ID, GEOMETRY, epoch=epoch, room=room, after=committed
            )
            waiting, held = deque([*held, *waiting]), deque()
        assert len(queue) == len(waiting)
        assert queue.bytes <= room.capacity_bytes
    queue.remove()
    assert not any(folder.iterdir())
