"""Frames get from a source into a run, or are written down, whatever goes wrong on the way."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acquisition.service.scripted import (
    FRAME_BYTES,
    LONG,
    SMALL,
    Scripted,
    Step,
    check_sums,
    frame,
    no_thread_is_left,
    reason,
    slow_recorder,
)

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    RunWriter,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.clock import SystemClock
from forebay.acquisition.errors import FrameError, RunExistsError, SourceError, StorageError
from forebay.acquisition.recorder.recorder import Recorder
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.ring.slot_source import Receive
from forebay.acquisition.run.writing import account as writer_module
from forebay.acquisition.service.flow import RING_FULL
from forebay.acquisition.settings import AcquisitionSettings

__all__ = ["no_thread_is_left", "slow_recorder"]


def test_a_source_is_recorded_to_its_end(tmp_path: Path) -> None:
    """Every frame is in the run, and the status and the last call of `on_status` say so."""
    told: list[AcquisitionStatus] = []
    threads = set()

    def tell(status: AcquisitionStatus) -> None:
        told.append(status)
        threads.add(threading.current_thread())

    source = Scripted(range(3, 103))
    status = acquire(source, tmp_path / "run", frames_per_block=8, on_status=tell)
    run = open_run(tmp_path / "run")
    assert check_sums(run, status) == list(range(3, 103))
    assert reason(run) == "the source ended"
    assert run.layout.metadata.instrument == {"serial": "A-1"}
    assert told[-1].committed == status.committed == 100
    assert status.bytes == 100 * FRAME_BYTES
    assert [each.committed for each in told] == sorted({each.committed for each in told})
    assert threads == {threading.current_thread()}


@pytest.mark.usefixtures("slow_recorder")
def test_a_recorder_that_is_too_slow_loses_frames_and_says_which(tmp_path: Path) -> None:
    """A camera that cannot wait: what found no room is dropped with its counter and the reason."""
    source = Scripted([*range(100, 300), *range(310, 340)], can_wait=False)
    status = acquire(source, tmp_path / "run", frames_per_block=4, buffer_bytes=5 * FRAME_BYTES)
    run = open_run(tmp_path / "run")
    taken = check_sums(run, status)
    assert status.counted == 240
    assert status.ring_slots == status.ring_highest == 7 * 4
    assert taken[:16] == list(range(100, 116))
    reasons = {each.reason for each in run.dropped}
    assert RING_FULL in reasons
    assert reasons <= {RING_FULL, writer_module.NOT_DELIVERED}
    not_delivered = [each for each in run.dropped if each.reason == writer_module.NOT_DELIVERED]
    assert [(each.first, each.last) for each in not_delivered] == [(300, 309)]
    assert run.dropped[-1].last == 339


@pytest.mark.usefixtures("slow_recorder")
def test_a_source_that_can_wait_loses_nothing(tmp_path: Path) -> None:
    """A full ring holds the source up."""
    status = acquire(Scripted(range(60)), tmp_path / "run", frames_per_block=4, buffer_bytes=1)
    assert check_sums(open_run(tmp_path / "run"), status) == list(range(60))
    assert status.dropped == 0


def fail() -> None:
    raise SourceError("the cable was pulled")


def test_a_source_that_fails_midway_leaves_a_closed_run(tmp_path: Path) -> None:
    """Everything before is committed, the run says why it ended, and the error is raised."""
    with pytest.raises(SourceError, match="the cable was pulled"):
        acquire(Scripted([*range(7), fail, 7]), tmp_path / "run", frames_per_block=4)
    run = open_run(tmp_path / "run")
    assert check_sums(run) == list(range(7))
    assert reason(run) == "the source failed: the cable was pulled"


class Finishing(Scripted):
    """A source that puts frames into the ring itself, and fails after it has finished that."""

    def __init__(self, recorded: threading.Event) -> None:
        super().__init__(range(0))
        self._recorded = recorded

    def deliver_into(self, ring: FrameRing, receive: Receive) -> None:
        for counter in range(6):
            ring.put(frame(counter), wait=True)
        ring.finish()
        assert self._recorded.wait(60)
        raise SourceError("its program has died")


def test_why_a_source_failed_is_known_though_it_finished_the_ring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is not closed before the source has said it."""
    record, recorded = Recorder.run, threading.Event()

    def recording(self: Recorder) -> None:
        record(self)
        recorded.set()

    monkeypatch.setattr(Recorder, "run", recording)
    with pytest.raises(SourceError, match="has died"):
        acquire(Finishing(recorded), tmp_path / "run", frames_per_block=4)
    assert reason(open_run(tmp_path / "run")) == "the source failed: its program has died"


def test_a_source_that_fails_at_once_leaves_an_empty_run(tmp_path: Path) -> None:
    """There is a run, closed, without frames, with the reason."""
    with pytest.raises(SourceError):
        acquire(Scripted([fail]), tmp_path / "run", frames_per_block=4)
    run = open_run(tmp_path / "run")
    assert check_sums(run) == []
    assert "the cable was pulled" in reason(run)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Frame(9, 0, np.zeros((4, 3), "uint16")), "the frame has the shape (4, 3)"),
        (Frame(9, 0, np.zeros((3, 4), "uint8")), "and the dtype uint8"),
        (Frame(9, 2**63, np.zeros((3, 4), "uint16")), "its time is no whole number of 64 bits"),
    ],
)
def test_a_frame_that_does_not_fit_is_dropped_with_the_reason(
    tmp_path: Path, bad: Frame, reason: str
) -> None:
    """Another shape or dtype, or a time beyond all numbers: the run goes on behind it."""
    source = Scripted([*range(9), bad, *range(10, 20)])
    status = acquire(source, tmp_path / "run", frames_per_block=4)
    run = open_run(tmp_path / "run")
    assert check_sums(run, status) == [*range(9), *range(10, 20)]
    (dropped,) = run.dropped
    assert (dropped.first, dropped.last) == (9, 9)
    assert reason in dropped.reason
    assert reason in run.notes[-1].text


def test_a_source_that_changes_its_geometry_ends_the_run_before_it(tmp_path: Path) -> None:
    """One odd frame is a fault of the line; a row of them is another setting of the camera."""
    odd = [Frame(counter, counter, np.zeros((4, 3), "uint16")) for counter in range(7, 40)]
    source = Scripted([*range(7), *odd])
    with pytest.raises(FrameError, match="the camera was set otherwise; start another run"):
        acquire(source, tmp_path / "run", frames_per_block=4)
    run = open_run(tmp_path / "run")
    assert check_sums(run) == list(range(7))
    assert reason(run).startswith("the source failed: ")
    assert source.ended.is_set()


@pytest.mark.parametrize(
    ("counters", "taken", "kind"),
    [
        ([5, 6, 6, 7], [5, 6, 7], "counter repeated"),
        ([5, 7, 6, 8], [5, 7, 8], "counter late"),
        ([65534, 65535, 0, 1], [65534, 65535, 65536, 65537], "counter wrapped"),
        ([2**32 - 1, 0, 1], [2**32 - 1, 2**32, 2**32 + 1], "counter wrapped"),
    ],
)
def test_a_counter_that_does_not_go_up_by_one_is_named(
    tmp_path: Path, counters: list[int], taken: list[int], kind: str
) -> None:
    """Nothing is recorded twice, nothing counted twice, and the run says what the camera did."""
    frames: list[Step] = [
        Frame(counter, place, np.full((3, 4), number % 2**16, "uint16"))
        for place, (counter, number) in enumerate(
            zip(counters, taken if len(taken) == len(counters) else counters, strict=True)
        )
    ]
    status = acquire(Scripted(frames), tmp_path / "run", frames_per_block=4)
    run = open_run(tmp_path / "run")
    assert run.frames.frame_id.to_numpy().tolist() == taken
    assert status.committed + status.dropped == status.counted
    assert status.anomalies[kind] == 1
    assert [note.topic for note in run.notes] == [kind]
    assert verify_run(run).ok


def test_a_status_that_cannot_be_told_costs_no_frame(tmp_path: Path) -> None:
    """An exception in `on_status` is the caller's; it is passed on once the source has ended."""

    def broken(status: AcquisitionStatus) -> None:
        raise BrokenPipeError

    source = Scripted(range(30))
    with pytest.raises(BrokenPipeError):
        acquire(source, tmp_path / "run", frames_per_block=4, buffer_bytes=SMALL, on_status=broken)
    run = open_run(tmp_path / "run")
    check_sums(run)
    assert run.history.frames + sum(each.count for each in run.dropped) == 30
    assert reason(run) == "the source ended"


def test_a_storage_that_refuses_ends_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the block; what was committed stays, and the run can be resumed."""
    source = Scripted(range(LONG))
    link = os.link

    def broken(origin: str, target: str, **options: Any) -> None:
        if "frames/c.3." in str(target):
            raise OSError(5, "Input/output error")
        link(origin, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", broken)
        with pytest.raises(StorageError, match=r"cannot write block \d of .*: the device"):
            acquire(source, tmp_path / "run", frames_per_block=4, buffer_bytes=SMALL)
    assert source.ended.is_set()
    run = open_run(tmp_path / "run")
    assert not run.closed
    committed = run.frames.frame_id.to_numpy().tolist()
    assert committed == list(range(len(committed)))
    assert len(committed) <= 12
    with RunWriter.resume(tmp_path / "run") as writer:
        writer.append(frame(40))
    # Blocks that lay there and were not entered yet are taken in.
    taken = check_sums(open_run(tmp_path / "run"))
    assert taken == [*range(len(taken) - 1), 40]
    assert len(committed) <= len(taken) - 1 <= 12


def test_a_run_that_is_moved_away_meanwhile_ends_and_keeps_what_was_committed(
    tmp_path: Path,
) -> None:
    """Whoever records is told that the folder is gone; nothing is made anew in its place."""
    path, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    source = Scripted([*range(8), lambda: path.rename(elsewhere), *range(8, LONG)])
    with pytest.raises(StorageError, match="moved or deleted"):
        acquire(source, path, frames_per_block=4)
    frames = open_run(elsewhere).frames
    np.testing.assert_array_equal(frames.to_numpy()[:, 0, 0], frames.frame_id)
    assert not path.exists()


class _TimePasses(SystemClock):
    """The system's clock, and what passes beside."""

    passed = 0.0

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return super().monotonic() + self.passed

    def passes(self, seconds: float) -> None:
        self.passed += seconds


def test_the_rate_of_a_source_is_that_of_its_frames(tmp_path: Path) -> None:
    """How long the first one was waited for, and how long all took in the end, is not in it."""
    clock = _TimePasses()

    def passes(seconds: float) -> Callable[[], None]:
        return lambda: clock.passes(seconds)

    between = [step for counter in range(1, 5) for step in (passes(100), counter)]
    source = Scripted([passes(10_000), 0, *between, passes(10_000)])
    status = acquire(source, tmp_path / "run", clock=clock)
    assert status.seconds > 20_000
    assert 0.005 < status.received_per_second <= 0.01


@pytest.mark.parametrize("frames", [0, 1])
def test_one_frame_has_no_rate(tmp_path: Path, frames: int) -> None:
    """Nor has none."""
    assert acquire(Scripted(range(frames)), tmp_path / "run").received_per_second == 0


def test_a_run_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """The source is not even asked for a frame."""
    (tmp_path / "run").mkdir()
    source = Scripted(range(3))
    with pytest.raises(RunExistsError):
        acquire(source, tmp_path / "run", frames_per_block=4)
    assert not source.ended.is_set()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_buffer_that_does_not_fit_makes_no_run(tmp_path: Path) -> None:
    """What cannot be started is not begun."""
    with pytest.raises(SourceError, match="does not fit into memory"):
        acquire(Scripted(range(3)), tmp_path / "run", frames_per_block=2**40)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_become_smaller_take_no_larger_buffer(tmp_path: Path) -> None:
    """A block has more of them than of frames as they came, of which the buffer's memory is."""
    reduction = {"steps": ["region:0:1,0:1"], "keep_raw_every": 2}
    few = {"buffer_bytes": 6 * FRAME_BYTES, "block_bytes": 4 * FRAME_BYTES}
    settings = AcquisitionSettings.model_validate({"reduction": reduction, **few})
    status = acquire(Scripted(range(96)), tmp_path / "run", settings=settings)
    assert status.committed == 96
    assert status.ring_slots == 6
    assert open_run(tmp_path / "run").layout.frames_per_block == 48
    assert open_run(tmp_path / "run.raw").layout.frames_per_block == 4
