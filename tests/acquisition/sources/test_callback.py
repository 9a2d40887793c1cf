"""Frames that a camera's software hands over, from threads of its own."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forebay
from forebay.acquisition import FrameFlag, Geometry, ImageMetadata
from forebay.acquisition.errors import FrameError, SourceError
from forebay.acquisition.sources.callback import CallbackSource
from forebay.acquisition.sources.testing import ManualClock, check_source

LAYOUT = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
PATIENT = 10.0
"""Longer than anything here takes."""


def pixels(value: int = 0) -> "np.ndarray[Any, Any]":
    return np.full(LAYOUT.shape, value, LAYOUT.dtype)


def counters(source: CallbackSource) -> list[int]:
    return [frame.counter for frame in source.frames()]


@pytest.fixture
def threads() -> Iterator[ExitStack]:
    """Join the threads that were started, in the end."""
    with ExitStack() as started:
        yield started


def start(threads: ExitStack, call: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    threads.callback(thread.join, PATIENT)
    return thread


def test_frames_come_as_they_were_submitted() -> None:
    with CallbackSource(LAYOUT, metadata=ImageMetadata(exposure=0.5)) as source:
        assert source.submit(pixels(5), counter=7, timestamp=11, flags=FrameFlag.SATURATED)
        source.finish()
        (frame,) = source.frames()
    assert (frame.counter, frame.timestamp, frame.flags) == (7, 11, FrameFlag.SATURATED)
    np.testing.assert_array_equal(frame.data, pixels(5))
    assert source.geometry == LAYOUT
    assert source.metadata.exposure == 0.5


def test_a_callback_source_keeps_the_promises(threads: ExitStack) -> None:
    """While another thread submits until it is told that no more are taken."""

    def feed(source: CallbackSource) -> None:
        while source.submit(pixels(), timeout=PATIENT):
            pass

    def open_anew() -> CallbackSource:
        source = CallbackSource(LAYOUT, capacity_frames=2, can_wait=True)
        start(threads, feed, source)
        return source

    assert check_source(open_anew) == ()


def test_calls_are_counted_where_no_counter_is_given() -> None:
    """On from the last one, taken or not; stamped with the time of the call."""
    clock = ManualClock(wall=1_000)
    with CallbackSource(LAYOUT, capacity_frames=3, clock=clock) as source:
        assert source.submit(pixels())
        assert source.submit(pixels(), counter=9)
        with pytest.raises(FrameError):
            source.submit(pixels()[:1])
        clock.advance(1.0)
        assert source.submit(pixels())
        source.finish()
        frames = [(frame.counter, frame.timestamp) for frame in source.frames()]
    assert frames == [(0, 1_000), (9, 1_000), (11, 1_000_001_000)]


def test_the_software_may_use_its_memory_again() -> None:
    """The pixels are copied while submit runs, whatever their layout in memory."""
    with CallbackSource(LAYOUT) as source:
        own = np.arange(6, dtype="uint16").reshape(3, 2).T
        expected = own.copy()
        source.submit(own)
        own[:] = 0
        source.finish()
        (frame,) = source.frames()
    np.testing.assert_array_equal(frame.data, expected)
    assert frame.data.flags.c_contiguous
    assert not frame.data.flags.writeable


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_a_frame_is_valid_until_the_next_is_asked_for(capacity: int) -> None:
    """However many are submitted meanwhile."""
    with CallbackSource(LAYOUT, capacity_frames=capacity) as source:
        number = 0
        while source.submit(pixels(number)):
            number += 1
        received = source.frames()
        for _ in range(20):
            frame = next(received)
            while source.submit(pixels(number), counter=number):
                number += 1
            np.testing.assert_array_equal(frame.data, pixels(frame.counter))


def test_a_frame_that_finds_no_room_is_not_taken() -> None:
    """Its counter is missing from those of the others."""
    with CallbackSource(LAYOUT, capacity_frames=2) as source:
        assert [source.submit(pixels()) for _ in range(4)] == [True, True, False, False]
        assert source.refused == 2
        received = source.frames()
        assert next(received).counter == 0
        assert source.submit(pixels())
        source.finish()
        assert [frame.counter for frame in received] == [1, 4]


def test_what_found_no_room_is_written_down_as_dropped(threads: ExitStack, tmp_path: Path) -> None:
    """From the callback into the run: committed and dropped are what was counted."""
    full = threading.Event()

    def feed(source: CallbackSource) -> None:
        for counter in (3, 4, 5, 6):
            source.submit(pixels(counter), counter=counter)
        full.set()
        source.submit(pixels(7), counter=7, timeout=PATIENT)
        source.finish()

    with CallbackSource(LAYOUT, capacity_frames=2) as source:
        start(threads, feed, source)
        assert full.wait(PATIENT)
        status = forebay.acquire(source, tmp_path / "run", frames_per_block=2)
    assert (status.committed, status.dropped, status.counted) == (3, 2, 5)
    assert source.refused == 2


@pytest.mark.parametrize("ends", ["finish", "fail", "stop"])
def test_what_found_no_room_at_the_end_is_written_down_as_well(tmp_path: Path, ends: str) -> None:
    """Though no frame comes behind it; and what had room and is not asked for any more."""
    stop = threading.Event()
    with CallbackSource(LAYOUT, capacity_frames=3) as source:

        def end(status: forebay.AcquisitionStatus) -> None:
            if status.committed < 2:
                return
            if ends == "stop":
                stop.set()
            elif ends == "fail":
                source.fail(OSError("gone"))

        for counter in range(0xFFFD, 0x10003):
            source.submit(pixels(), counter=counter % 2**16)
        if ends == "finish":
            source.finish()
        with contextlib.suppress(SourceError):
            forebay.acquire(source, tmp_path / "run", frames_per_block=2, stop=stop, on_status=end)
    run = forebay.open_run(tmp_path / "run")
    assert run.closed
    (dropped,) = run.dropped
    last = 0xFFFF if ends != "stop" else dropped.first - 1
    assert run.frames.frame_id.to_numpy().tolist() == list(range(0xFFFD, last + 1))
    assert (dropped.first, dropped.last) == (last + 1, 0x10002)


def test_submit_waits_for_room(threads: ExitStack) -> None:
    """For as long as it is told to, and not longer than there is none."""
    with CallbackSource(LAYOUT, capacity_frames=1, can_wait=True) as source:
        assert source.submit(pixels())
        assert not source.submit(pixels(), timeout=0.01)
        taken: list[bool] = []
        waiting = start(threads, lambda: taken.append(source.submit(pixels(), timeout=PATIENT)))
        received = source.frames()
        assert [next(received).counter, next(received).counter] == [0, 2]
        waiting.join(PATIENT)
        assert taken == [True]


@pytest.mark.parametrize("how", ["stop", "finish", "fail", "leave"])
def test_submit_takes_no_more_in_the_end(threads: ExitStack, how: str) -> None:
    """One that waits returns at once, and so does each later one."""
    source = CallbackSource(LAYOUT, capacity_frames=1)
    source.submit(pixels())
    taken: list[bool] = []
    waiting = start(threads, lambda: taken.append(source.submit(pixels(), timeout=PATIENT)))
    end: dict[str, Callable[[], object]] = {
        "stop": source.stop,
        "finish": source.finish,
        "fail": lambda: source.fail(OSError()),
        "leave": lambda: source.__exit__(None, None, None),
    }
    end[how]()
    waiting.join(PATIENT / 2)
    assert taken == [False]
    assert not source.submit(pixels())
    assert source.refused == 0


def test_the_receiver_waits_for_frames_until_it_is_stopped(threads: ExitStack) -> None:
    with CallbackSource(LAYOUT) as source:
        received: list[int] = []
        came = threading.Event()

        def receive() -> None:
            for frame in source.frames():
                received.append(frame.counter)
                came.set()

        receiver = start(threads, receive)
        source.submit(pixels())
        assert came.wait(PATIENT)
        source.stop()
        receiver.join(PATIENT)
        assert not receiver.is_alive()
    assert received == [0]


def test_what_the_camera_says_in_failing_is_raised_behind_its_frames() -> None:
    """The first failure counts; the run is closed with it as its reason."""
    with CallbackSource(LAYOUT) as source:
        source.submit(pixels())
        source.fail(OSError("the cable is out"))
        source.fail(OSError("and the power, too"))
        received = source.frames()
        assert next(received).counter == 0
        with pytest.raises(
            SourceError, match=r"the camera has failed: .*the cable is out"
        ) as raised:
            next(received)
    assert isinstance(raised.value.__cause__, OSError)


def test_frames_of_several_threads_are_queued_in_the_order_of_their_numbers(
    threads: ExitStack,
) -> None:
    """None is lost, none comes twice."""
    with CallbackSource(LAYOUT, capacity_frames=3, can_wait=True) as source:
        together = threading.Barrier(4)

        def feed() -> None:
            together.wait(PATIENT)
            for _ in range(50):
                assert source.submit(pixels(), timeout=PATIENT)

        for _ in range(4):
            start(threads, feed)
        received = source.frames()
        assert [next(received).counter for _ in range(200)] == list(range(200))


def test_frames_are_delivered_once() -> None:
    with CallbackSource(LAYOUT) as source:
        source.finish()
        assert counters(source) == []
        with pytest.raises(SourceError, match="has delivered its frames already"):
            source.frames()
    with pytest.raises(SourceError, match="is closed"):
        source.frames()


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"pixels": np.zeros((3, 2), "uint16")}, FrameError, r"has the shape \(3, 2\)"),
        ({"pixels": np.zeros((2, 3), "uint8")}, FrameError, "the dtype uint8"),
        ({"pixels": [[0]]}, FrameError, "has the shape"),
        ({"counter": -1}, SourceError, "counter cannot be -1"),
        ({"counter": 2**64}, SourceError, "counter cannot be"),
        ({"counter": 1.5}, SourceError, "counter cannot be 1.5"),
        ({"timestamp": 2**63}, SourceError, "timestamp cannot be"),
        ({"timestamp": 1e9}, SourceError, "timestamp cannot be"),
        ({"flags": -1}, SourceError, "flags cannot be -1"),
        ({"timeout": -1}, SourceError, "timeout cannot be -1"),
        ({"timeout": float("nan")}, SourceError, "timeout cannot be nan"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_submitted(
    given: dict[str, Any], error: type[Exception], said: str
) -> None:
    """The source goes on."""
    with CallbackSource(LAYOUT) as source:
        with pytest.raises(error, match=said):
            source.submit(**{"pixels": pixels(), **given})
        assert source.submit(pixels(), counter=5)
        source.finish()
        assert counters(source) == [5]


@pytest.mark.parametrize(
    ("geometry", "capacity", "said"),
    [
        (Geometry(("x", "y"), (2, 3), np.dtype("u1")), 1, "a run keeps"),
        (Geometry(("y", "x"), (2, 3), np.dtype("O")), 1, "a run keeps integers"),
        (LAYOUT, 0, "capacity_frames cannot be 0"),
        (Geometry(("y", "x"), (2**30, 2**30), np.dtype("u1")), 9, "do not fit into memory"),
    ],
)
def test_a_source_is_made_of_what_a_run_can_hold(
    geometry: Geometry, capacity: int, said: str
) -> None:
    with pytest.raises((FrameError, SourceError), match=said):
        CallbackSource(geometry, capacity_frames=capacity)
