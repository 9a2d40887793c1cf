"""Cameras on one trigger become one source: each trigger once, in order, with the right pixels."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import Frame, FrameFlag, Geometry, ImageMetadata, acquire, open_run
from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import Anomaly, AnomalyKind, AnomalyLog
from forebay.acquisition.sources import CallbackSource, Scene, SimulatedSource
from forebay.acquisition.sources.synchronised.source import SynchronisedSource
from forebay.acquisition.sources.testing import ManualClock, check_source

PATIENCE = 10.0
"""Seconds that a test waits for another thread before it fails."""
MISSING = FrameFlag.PARTNER_MISSING

type Step = int | Callable[[], object] | Frame


class Camera:
    """A source that follows a script: a counter is a frame, a function is called."""

    def __init__(
        self,
        script: Sequence[Step],
        *,
        place: int = 0,
        can_wait: bool = True,
        dims: tuple[str, ...] = ("y", "x"),
        shape: tuple[int, ...] = (2, 3),
    ) -> None:
        self.geometry = Geometry(dims, shape, np.dtype("uint32"))
        self.metadata = ImageMetadata(frame_rate=10.0 + place, instrument={"place": place})
        self.can_wait = can_wait
        self.stopped = threading.Event()
        self.left = 0
        self.anomalies: AnomalyLog | None = None
        self._script = script
        self._place = place

    def frame(self, counter: int) -> Frame:
        time = 100 * counter + self._place
        return Frame(counter, time, np.full((2, 3), pixel(self._place, counter), "uint32"))

    def frames(self) -> Iterator[Frame]:
        for step in self._script:
            if self.stopped.is_set():
                return
            if callable(step):
                step()
            else:
                yield step if isinstance(step, Frame) else self.frame(step)

    def stop(self) -> None:
        self.stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.left += 1
        self.stop()


def pixel(place: int, counter: int) -> int:
    return 1 + place * 1_000_000 + counter


def reached(event: threading.Event) -> Callable[[], object]:
    """Return a step that waits for an event, and fails the camera where it does not come."""

    def wait() -> None:
        if not event.wait(PATIENCE):
            raise TimeoutError("the event did not come")

    return wait


def synchronised(*cameras: Camera, **options: object) -> SynchronisedSource:
    names = [f"camera {place}" for place in range(len(cameras))]
    settings = {"clock": ManualClock(), "patience_seconds": 1e6, **options}
    return SynchronisedSource(cameras, names=names, **settings)  # type: ignore[arg-type]


def copied(frame: Frame) -> tuple[int, list[int], int]:
    """Return the counter, a pixel of each channel, and the flags; the planes must be even."""
    assert (frame.data == frame.data[:, :1, :1]).all()
    return frame.counter, frame.data[:, 0, 0].tolist(), int(frame.flags)


def expected(delivered: Sequence[set[int]], firsts: Sequence[int], last: int) -> list[object]:
    """Return the frames that must come for what each camera delivers, by trigger."""
    frames: list[object] = []
    for trigger in sorted(set.union(*delivered)):
        if trigger > last:
            break
        pixels, flags = [], 0
        for place, own in enumerate(delivered):
            there = trigger in own
            pixels.append(pixel(place, trigger + firsts[place]) if there else 0)
            flags |= 0 if there else MISSING | 1 << (8 + place)
        frames.append((trigger, pixels, flags))
    return frames


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every camera's thread has ended when its source is left."""
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("forebay-")]
    assert left == []


triggers = st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=4)


@settings(deadline=None)  # it starts threads, which wait for their turn
@given(triggers, st.lists(st.integers(0, 70_000), min_size=4, max_size=4), st.integers(1, 4))
def test_each_trigger_comes_once_in_order_with_the_right_pixels(
    delivered: list[set[int]], firsts: list[int], room: int
) -> None:
    """Whatever the cameras lose, however far they run ahead, wherever their counters stand."""
    cameras = [
        Camera([firsts[place] + trigger for trigger in sorted(own)], place=place)
        for place, own in enumerate(delivered)
    ]
    firsts = firsts[: len(cameras)]
    with synchronised(
        *cameras, first_counters=firsts, require_all=False, patience_frames=room
    ) as source:
        found = [copied(frame) for frame in source.frames()]
    assert found == expected(delivered, firsts, last=30)


@settings(deadline=None)  # it starts threads, which wait for their turn
@given(triggers)
def test_all_end_with_the_first_camera_that_ends(delivered: list[set[int]]) -> None:
    """At its last frame, where all are required."""
    cameras = [Camera(sorted(own), place=place) for place, own in enumerate(delivered)]
    with synchronised(*cameras, first_counters=[0] * len(cameras)) as source:
        found = [copied(frame) for frame in source.frames()]
    last = min(max(own) for own in delivered)
    assert found == expected(delivered, [0] * len(cameras), last)


def test_cameras_are_aligned_by_their_first_frames() -> None:
    """Whatever their counters are."""
    with synchronised(Camera([7, 8, 10]), Camera([300, 301, 302, 303], place=1)) as source:
        found = [copied(frame) for frame in source.frames()]
    assert found == expected([{0, 1, 3}, {0, 1, 2, 3}], [7, 300], last=3)


def test_counters_may_wrap_each_at_its_own_time() -> None:
    """Each camera's counter is followed for itself."""
    near = [each % 65_536 for each in range(65_530, 65_560)]
    far = [each % 65_536 for each in range(65_510, 65_540)]
    with synchronised(Camera(near), Camera(far, place=1)) as source:
        found = [copied(frame) for frame in source.frames()]
    assert found == [
        (each, [pixel(0, near[each]), pixel(1, far[each])], 0) for each in range(len(near))
    ]


def test_times_and_flags_are_of_those_that_are_there() -> None:
    """The time by the clock of the first of them, and the flags of all."""
    data = np.zeros((2, 3), "uint32")
    first = Camera([Frame(0, 10, data, FrameFlag.SATURATED), Frame(2, 30, data)])
    second = Camera([Frame(each, 100 + each, data, FrameFlag.INCOMPLETE) for each in range(3)])
    with synchronised(first, second) as source:
        found = [(frame.timestamp, frame.flags) for frame in source.frames()]
    assert found == [
        (10, FrameFlag.SATURATED | FrameFlag.INCOMPLETE),
        (11, FrameFlag.INCOMPLETE | MISSING | FrameFlag(1 << 8)),
        (30, FrameFlag.INCOMPLETE),
    ]


HOUR = 3_600_000_000_000


def test_clocks_that_differ_are_told_once_and_times_are_of_one_of_them(tmp_path: Path) -> None:
    """Each clock is compared with itself; frames that the first camera lacks have its time, too."""
    data = np.zeros((2, 3), "uint32")
    first = Camera([Frame(each, 10 * each, data) for each in range(20) if each % 3])
    second = Camera([Frame(each, HOUR + 10 * each, data) for each in range(1, 20)])
    with synchronised(first, second, first_counters=[0, 0]) as source:
        status = acquire(source, tmp_path / "run", frames_per_block=4)
    assert status.anomalies == {"counter gap": 6, "partner missing": 6, "clocks apart": 1}
    run = open_run(tmp_path / "run")
    (told,) = [note.text for note in run.history.notes if note.topic == "clocks apart"]
    assert told == (
        "camera 1: its clock is 3600.000 s ahead of that of camera 0, which gives the times of "
        "the frames"
    )
    assert run.frames.timestamp.astype("int64").to_numpy().tolist() == list(range(10, 200, 10))


def test_a_clock_that_goes_back_is_told_once(tmp_path: Path) -> None:
    """By the camera whose clock it is, and not by what is put together of it."""
    data = np.zeros((2, 3), "uint32")
    times = [10, 20, 15, 40]
    first = Camera([Frame(each, time, data) for each, time in enumerate(times)])
    with synchronised(first, Camera(range(4))) as source:
        status = acquire(source, tmp_path / "run", frames_per_block=4)
    assert status.anomalies == {"time went back": 1}


def test_what_a_camera_tells_of_itself_is_passed_on() -> None:
    """Beside what is seen of it here, and by its name."""
    camera = Camera([0])
    camera.anomalies = AnomalyLog(ManualClock())
    camera.anomalies.report(AnomalyKind.SENDER_REFUSED, "somebody left")
    with synchronised(Camera([0]), camera) as source:
        list(source.frames())
        assert [each.text for each in drained(source)] == ["camera 1: somebody left"]


def test_a_partner_is_not_waited_for_when_others_press() -> None:
    """A camera that cannot be held up fills its queue; what comes too late is named."""
    go_on = threading.Event()
    slow = Camera([0, reached(go_on), 1, 9], place=1)
    with synchronised(Camera(range(10), can_wait=False), slow, patience_frames=3) as source:
        found = []
        for frame in source.frames():
            found.append(copied(frame))
            if frame.counter == 1:
                go_on.set()
    assert found[:2] == expected([{0, 1}, {0}], [0, 0], last=9)
    # How far the slow one had been left behind depends on the threads; nothing else does.
    assert [counter for counter, _, _ in found] == list(range(10))
    assert found[9][1:] == ([pixel(0, 9), pixel(1, 9)], 0) or found[9][2] == MISSING | 1 << 9
    counts = source.anomalies.counts()
    assert counts["partner late"] >= 1
    assert counts["partner missing"] >= 8
    assert any("camera 1: the frame for trigger 1 came" in each.text for each in drained(source))


def drained(source: SynchronisedSource) -> tuple[Anomaly, ...]:
    return source.anomalies.take(everything=True)


def test_a_partner_is_not_waited_for_longer_than_the_patience() -> None:
    """Time passes on the clock that is given, and on no other."""
    clock = ManualClock()
    go_on = threading.Event()

    def patience_runs_out() -> None:
        clock.advance(2.5)

    silent = Camera([0, patience_runs_out, reached(go_on)], place=1)
    with synchronised(
        Camera([0, 1, reached(go_on)]), silent, clock=clock, patience_seconds=2.0
    ) as source:
        frames = source.frames()
        found = [copied(next(frames)), copied(next(frames))]
        go_on.set()
    assert found == expected([{0, 1}, {0}], [0, 0], last=1)


def test_a_partner_that_is_silent_holds_the_others_up_only_once() -> None:
    """Also those that can wait: time stands still behind the first trigger without it."""
    clock = ManualClock()
    go_on, again = threading.Event(), threading.Event()

    def patience_runs_out() -> None:
        clock.advance(2.5)

    silent = Camera([0, patience_runs_out, reached(again), 20, reached(go_on)], place=1)
    steady = Camera([*range(21), reached(go_on)])
    with synchronised(
        steady, silent, clock=clock, patience_seconds=2.0, patience_frames=3
    ) as source:
        found = []
        for frame in source.frames():
            found.append(copied(frame))
            if frame.counter == 17:
                again.set()
            if frame.counter == 20:
                go_on.set()
    assert found == expected([set(range(21)), {0, 20}], [0, 0], last=20)


def test_cameras_that_can_be_held_up_wait_for_each_other() -> None:
    """However far one of them could run ahead."""
    waited = threading.Event()
    fast = Camera([0, 1, 2, waited.set, 3, 4, 5])
    slow = Camera([0, reached(waited), *range(1, 6)], place=1)
    with synchronised(fast, slow, patience_frames=2) as source:
        found = [copied(frame) for frame in source.frames()]
    assert found == expected([set(range(6))] * 2, [0, 0], last=5)
    assert source.anomalies.counts() == {}


def fail() -> None:
    raise SourceError("the cable is out")


def test_a_failure_of_one_ends_all() -> None:
    """After what it had delivered; the error names the camera."""
    with synchronised(Camera(range(100)), Camera([0, 1, fail, 2], place=1)) as source:
        found = []
        with pytest.raises(SourceError, match="camera 1: the cable is out"):
            found += [copied(frame) for frame in source.frames()]
    assert source.anomalies.counts()["partner failed"] == 1


def test_everything_before_a_failure_is_delivered() -> None:
    """In its order."""
    found = []
    with synchronised(Camera(range(100)), Camera([0, 1, fail, 2], place=1)) as source:
        frames = source.frames()
        found = [copied(next(frames)), copied(next(frames))]
        with pytest.raises(SourceError, match="camera 1"):
            next(frames)
    assert found == expected([{0, 1}, {0, 1}], [0, 0], last=1)


def test_where_not_all_are_required_the_others_go_on() -> None:
    """The failure is named, and its camera is missing from there on."""
    cameras = Camera(range(5)), Camera([0, 1, fail], place=1)
    with synchronised(*cameras, require_all=False) as source:
        found = [copied(frame) for frame in source.frames()]
    assert found == expected([set(range(5)), {0, 1}], [0, 0], last=4)
    assert any("camera 1: it failed: the cable is out" in each.text for each in drained(source))


def test_where_all_have_failed_that_is_an_error() -> None:
    """After everything was delivered."""
    found = []
    with synchronised(Camera([0, fail]), Camera([0, 1, fail]), require_all=False) as source:
        frames = source.frames()
        found = [copied(next(frames))[0], copied(next(frames))[0]]
        with pytest.raises(SourceError, match="camera 0: the cable is out"):
            next(frames)
    assert found == [0, 1]


def test_a_camera_that_counts_anew_has_failed() -> None:
    """Nobody knows to which triggers its frames belong."""
    with (
        synchronised(Camera(range(1000, 1010)), Camera([1000, 1001, 0, 1])) as source,
        pytest.raises(SourceError, match="camera 1: it began to count anew with 0"),
    ):
        list(source.frames())


def test_a_frame_of_another_shape_is_missing() -> None:
    """And is named; the other camera's part is delivered."""
    odd = Frame(1, 150, np.zeros((9, 9), "uint32"))
    with synchronised(Camera(range(3)), Camera([0, odd, 2], place=1)) as source:
        found = [copied(frame) for frame in source.frames()]
    assert found == expected([{0, 1, 2}, {0, 2}], [0, 0], last=2)
    assert source.anomalies.counts()["geometry changed"] == 1


def test_a_frame_before_the_first_trigger_is_left_out() -> None:
    """And named."""
    with synchronised(Camera([4, 5, 6]), Camera([5, 6]), first_counters=[5, 5]) as source:
        assert [frame.counter for frame in source.frames()] == [0, 1]
    assert source.anomalies.counts() == {"partner late": 1}


@pytest.mark.parametrize("can_wait", [True, False])
def test_stopping_ends_cameras_that_run_for_ever(can_wait: bool) -> None:
    """Whether they wait for room or for their next frame."""
    endless = [Camera(range(10**9), place=place, can_wait=can_wait) for place in range(3)]
    with synchronised(*endless, patience_frames=2) as source:
        for frame in source.frames():
            if frame.counter == 20:
                source.stop()
            assert frame.counter <= 20
    assert [camera.left for camera in endless] == [1, 1, 1]


def test_leaving_the_block_joins_all_threads() -> None:
    """Also where the frames were not taken to their end, and when left twice."""
    endless = [Camera(range(10**9), place=place) for place in range(2)]
    with synchronised(*endless) as source:
        next(source.frames())
    source.__exit__(None, None, None)
    assert [camera.left for camera in endless] == [1, 1]
    with pytest.raises(SourceError, match="the source is closed; open it anew"):
        source.frames()


def test_a_camera_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are left, and this one is not touched while its thread is in it."""
    monkeypatch.setattr("forebay.acquisition.sources.synchronised.camera._END_SECONDS", 0.05)
    let_go = threading.Event()
    stuck = Camera([0, reached(let_go)], place=1)
    other = Camera([0, 1])
    source = synchronised(other, stuck)
    with pytest.raises(SourceError, match="camera 1 did not end when stopped"), source:
        assert next(source.frames()).counter == 0
    assert (other.left, stuck.left) == (1, 0)
    let_go.set()
    source.__exit__(None, None, None)


def test_what_is_said_of_the_cameras() -> None:
    """What they have in common, and the instrument of each."""
    source = synchronised(Camera([]), Camera([], place=1, can_wait=False))
    assert source.geometry == Geometry(("c", "y", "x"), (2, 2, 3), np.dtype("uint32"))
    assert source.metadata.channels == ("camera 0", "camera 1")
    assert source.metadata.frame_rate is None
    assert source.metadata.instrument == {
        "cameras": {"camera 0": {"place": 0}, "camera 1": {"place": 1}}
    }
    assert not source.can_wait


@pytest.mark.parametrize(
    ("cameras", "options", "said"),
    [
        ([], {}, "the number of cameras cannot be 0"),
        ([Camera([])] * 9, {}, "the number of cameras cannot be 9"),
        ([Camera([]), Camera([], shape=(2, 4))], {}, "set them alike"),
        ([Camera([], dims=("c", "y", "x"), shape=(1, 2, 3))], {}, "it must be (y, x)"),
        ([Camera([])], {"names": ["a", "b"]}, "give each a name of its own"),
        ([Camera([]), Camera([])], {"names": ["a", "a"]}, "give each a name of its own"),
        ([Camera([])], {"names": [""]}, "give each a name of its own"),
        ([Camera([])], {"first_counters": [1, 2]}, "give one for each"),
        ([Camera([])], {"patience_frames": 0}, "patience_frames cannot be 0"),
        ([Camera([])], {"patience_seconds": -1.0}, "patience_seconds cannot be -1.0"),
        ([Camera([])], {"counter_bits": 3}, "declare 8 to 64"),
        ([Camera([], shape=(2**20, 2**20))], {"patience_frames": 2**20}, "do not fit into memory"),
    ],
)
def test_what_cannot_be_synchronised_is_refused(
    cameras: list[Camera], options: dict[str, object], said: str
) -> None:
    """When the source is made."""
    names = [f"camera {place}" for place in range(len(cameras))]
    with pytest.raises(SourceError) as refusal:
        SynchronisedSource(cameras, **{"names": names, **options})  # type: ignore[arg-type]
    assert said in str(refusal.value)


@pytest.mark.parametrize("rate", [None, 200.0, 0.01])
def test_it_keeps_the_promises_of_a_source(rate: float | None) -> None:
    """With simulated cameras, of which one loses frames."""
    scene = Scene(shape=(16, 16), emitters=1)

    def open_anew() -> SynchronisedSource:
        return SynchronisedSource(
            [
                SimulatedSource(scene, rate=rate),
                SimulatedSource(scene, rate=rate, lost_counters={1, 3}),
            ],
            names=["left", "right"],
        )

    assert check_source(open_anew, frames=1 if rate == 0.01 else 5) == ()


def test_what_software_counted_at_the_end_and_no_frame_came_of_is_written_down(
    tmp_path: Path,
) -> None:
    """As for a single camera: of the one that counted farthest."""
    layout = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
    first, second = (CallbackSource(layout, capacity_frames=room) for room in (3, 4))
    for source in (first, second):
        while source.submit(np.zeros(layout.shape, layout.dtype)):
            pass
    second.submit(np.zeros(layout.shape, layout.dtype))  # the sixth
    for source in (first, second):
        source.finish()
    cameras = SynchronisedSource([first, second], names=["first", "second"], require_all=False)
    status = acquire(cameras, tmp_path / "run", frames_per_block=2)
    assert (status.committed, status.dropped, status.counted) == (4, 2, 6)
    run = open_run(tmp_path / "run")
    assert [(each.first, each.last) for each in run.dropped] == [(4, 5)]


def test_frames_that_wait_when_a_camera_ends_are_written_down(tmp_path: Path) -> None:
    """Where all cameras are required, those that no partner comes for any more."""
    arrived = threading.Event()
    short = Camera([0, 1, reached(arrived)])
    long = Camera([0, 1, 2, 3, lambda: arrived.set()], place=1)
    status = acquire(synchronised(short, long), tmp_path / "run", frames_per_block=2)
    assert (status.committed, status.dropped, status.counted) == (2, 2, 4)
    (note,) = open_run(tmp_path / "run").notes
    assert note.topic == "partner ended"
    assert note.text.endswith(
        "it ended after trigger 1, and the others with it, which had come to trigger 3"
    )


def test_cameras_that_end_together_are_not_told_of(tmp_path: Path) -> None:
    cameras = [Camera([*range(4)], place=place) for place in range(2)]
    acquire(synchronised(*cameras), tmp_path / "run", frames_per_block=2)
    assert open_run(tmp_path / "run").notes == ()
