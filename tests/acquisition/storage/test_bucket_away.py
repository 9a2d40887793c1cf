"""Recording into a bucket that does not answer for a time: waited for, as a full disk is."""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from obstore.store import ObjectStore as Bucket
from tests.acquisition.storage.conftest import NewBucket
from tests.acquisition.storage.frames import (
    GEOMETRY,
    PER_BLOCK,
    append,
    check_whole,
    create,
    frame,
    read,
    store_of,
    take_over,
)
from tests.acquisition.storage.server import Fate, Line

from forebay.acquisition import AcquisitionStatus, Frame, Geometry, ImageMetadata
from forebay.acquisition.errors import (
    FrameError,
    RunExistsError,
    RunLockedError,
    SourceError,
    StorageAwayError,
    StorageError,
)
from forebay.acquisition.recorder import blocks as recorder_blocks
from forebay.acquisition.run.writing import quiet
from forebay.acquisition.service import acquisition
from forebay.acquisition.service.acquisition import Acquisition
from forebay.acquisition.service.prepare import prepare_again_in, prepare_in
from forebay.acquisition.settings import AcquisitionSettings

pytestmark = [pytest.mark.s3, pytest.mark.timeout(120)]

SETTINGS = AcquisitionSettings.model_validate(
    {"frames_per_block": PER_BLOCK, "buffer_bytes": 1, "blocks_in_flight": 2}
)
FRAMES = 5


class Camera:
    """A camera that can wait, whose counters go on where it is told."""

    def __init__(
        self, frames: int = FRAMES, *, first: int = 0, geometry: Geometry = GEOMETRY
    ) -> None:
        self.geometry = geometry
        self.metadata = ImageMetadata()
        self.can_wait = True
        self._counters = range(first, first + frames)
        self._stopped = threading.Event()

    def frames(self) -> Iterator[Frame]:
        for counter in self._counters:
            if self._stopped.is_set():
                return
            yield frame(counter)

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


@dataclass
class Outage:
    """Harms all requests from a put on, until it is over."""

    number: int
    """Of the put that it begins with, from 0."""
    fate: Fate
    """What becomes of them."""
    over: threading.Event = field(default_factory=threading.Event)
    """When nothing is harmed any more."""
    begun: bool = False
    """Whether it has come to it."""

    def __post_init__(self) -> None:
        self._puts = itertools.count()

    def __call__(self, method: str, path: str) -> Fate:
        if not self.begun and method == "PUT":
            self.begun = next(self._puts) == self.number
        return self.fate if self.begun and not self.over.is_set() else "pass"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket is asked again soon, and no longer than a test can wait."""
    monkeypatch.setattr(recorder_blocks, "_TRY_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(acquisition, "_TELL_SECONDS", 0.0)
    monkeypatch.setattr(quiet, "_LEAST_SECONDS", 0.2)
    monkeypatch.setattr(quiet, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition, "_PATIENCE_SECONDS", 0.7)


def recording(bucket: Bucket) -> Acquisition:
    return prepare_in(Camera(), store_of(bucket), "sample", settings=SETTINGS)


def once_waiting(act: Callable[[], object]) -> Callable[[AcquisitionStatus], None]:
    """Return a listener that acts when it is told that the storage is waited for."""

    def listen(status: AcquisitionStatus) -> None:
        if status.flow == "waiting for the storage":
            act()

    return listen


@pytest.mark.parametrize(("fate", "step"), [("lose request", 3), ("lose reply", 1), ("busy", 4)])
def test_an_outage_at_any_put_is_waited_for_and_nothing_is_lost(
    new_bucket: NewBucket, line: Line, fate: Fate, step: int
) -> None:
    """Whether or not what was put before it had arrived."""
    for number in itertools.count(step=step):
        bucket, through = new_bucket()
        service = recording(through)
        outage = Outage(number, fate)
        line.fate = outage
        status = service.run(on_status=once_waiting(outage.over.set))
        line.always("pass")
        if not outage.begun:
            break
        assert status.committed == status.counted == FRAMES
        # What is shown to others at the very end is not waited for, and the next one shows it.
        if not outage.over.is_set():
            with pytest.raises(RunExistsError, match="closed and whole"):
                take_over(bucket)
        assert check_whole(bucket) == [*range(FRAMES)]
    assert number > 12


@pytest.mark.parametrize("fate", ["lose request", "lose reply"])
def test_a_note_that_was_not_confirmed_is_there_once(
    new_bucket: NewBucket, line: Line, fate: Fate
) -> None:
    """It comes before what is added next, since nobody knows whether it is there already."""
    bucket, through = new_bucket()
    with create(through) as writer:
        append(writer, range(2))
        outage = Outage(0, fate)
        line.fate = outage
        with pytest.raises(StorageAwayError, match="it does not answer"):
            writer.note("event", "a door was opened")
        outage.over.set()
        append(writer, range(2, 4))
        writer.note("event", "it was closed")
    assert check_whole(bucket) == [*range(4)]
    assert [each.text for each in read(bucket).notes] == ["a door was opened", "it was closed"]


def test_nothing_comes_between_a_commit_and_its_confirmation(
    new_bucket: NewBucket, line: Line
) -> None:
    """A note is refused as long as it is not known whether the block before it is committed."""
    bucket, through = new_bucket()
    service = recording(through)
    refused: list[StorageError] = []
    commits = itertools.count()
    over = threading.Event()

    def lose_replies_of_the_log(method: str, path: str) -> Fate:
        log = "/log/" in path or "/_log/" in path
        harmed = log and method == "PUT" and next(commits) >= 1
        return "lose reply" if (harmed or log) and commits_begun() and not over.is_set() else "pass"

    def commits_begun() -> bool:
        return service.status().counted > 0

    def note_and_end() -> None:
        if not refused:
            with pytest.raises(StorageError) as raised:
                service.note("event", "in between")
            refused.append(raised.value)
        over.set()

    line.fate = lose_replies_of_the_log
    status = service.run(on_status=once_waiting(note_and_end))
    assert status.committed == FRAMES
    assert check_whole(bucket) == [*range(FRAMES)]
    assert isinstance(refused[0], StorageAwayError)


def test_a_bucket_that_stays_away_ends_the_recording_and_another_writer_goes_on(
    new_bucket: NewBucket,
    line: Line,
    short_end: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was at stake is told, what is committed stays, and what is lost is written down."""
    bucket, through = new_bucket()
    service = recording(through)
    stop = threading.Event()
    line.fate = Outage(4 + 2, "lose request")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(StorageAwayError, match="it does not answer"),
    ):
        service.run(stop=stop, on_status=once_waiting(stop.set))
    line.always("pass")
    said = "\n".join(caplog.messages)
    assert "it is tried again until it answers: cannot write" in said
    assert "does not answer, and has not confirmed the last" in said
    assert "that the camera counted are not committed" in said
    committed = read(bucket).history.frames
    again = prepare_again_in(Camera(first=20), store_of(bucket), settings=SETTINGS)
    assert again.run().committed == committed + FRAMES
    assert check_whole(bucket) == [*range(committed), *range(20, 20 + FRAMES)]
    ((first, last),) = [(each.first, each.last) for each in read(bucket).dropped]
    assert (first, last) == (committed, 19)


def test_a_bucket_that_refuses_ends_the_recording_at_once(
    new_bucket: NewBucket, line: Line
) -> None:
    """An answer is no outage: asking again changes nothing."""
    _, through = new_bucket()
    service = recording(through)
    line.always("forbid")
    with pytest.raises(StorageError, match="permission is denied") as raised:
        service.run()
    assert not isinstance(raised.value, StorageAwayError)


def test_a_run_that_is_being_written_is_not_taken_up(
    new_bucket: NewBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log grows while it is looked at."""
    bucket, _ = new_bucket()
    monkeypatch.setattr(quiet, "_LEAST_SECONDS", 60.0)
    with create(bucket) as writer:
        append(writer, range(2))
        done = threading.Event()

        def go_on() -> None:
            for counter in itertools.count(2):
                append(writer, range(counter, counter + 1))
                if done.wait(0.05):
                    break

        writing = threading.Thread(target=go_on)
        writing.start()
        try:
            with pytest.raises(RunLockedError, match="its log has just grown"):
                prepare_again_in(Camera(first=100), store_of(bucket), settings=SETTINGS)
        finally:
            done.set()
            writing.join()
    check_whole(bucket)


def test_the_looking_can_be_ended(new_bucket: NewBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a Ctrl-C: nothing is taken from anybody then."""
    bucket, _ = new_bucket()
    monkeypatch.setattr(quiet, "_LEAST_SECONDS", 60.0)
    writer = create(bucket)
    append(writer, range(2))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(RunLockedError, match="left to its writer"):
        prepare_again_in(Camera(first=2), store_of(bucket), settings=SETTINGS, cancelled=cancelled)
    append(writer, range(2, 4))
    writer.close()
    assert check_whole(bucket) == [*range(4)]


def test_what_cannot_be_gone_on_with_is_refused(new_bucket: NewBucket) -> None:
    """A closed run, other frames, and a journal, which a bucket cannot have."""
    bucket, _ = new_bucket()
    writer = create(bucket)
    append(writer, range(2))
    writer.abandon()
    small = Geometry(("y", "x"), (2, 2), GEOMETRY.dtype)
    with pytest.raises(FrameError, match="start another run for them"):
        prepare_again_in(Camera(geometry=small), store_of(bucket), settings=SETTINGS)
    journalled = SETTINGS.model_copy(update={"durability": "frame"})
    with pytest.raises(SourceError, match="need a run in a folder"):
        prepare_again_in(Camera(first=2), store_of(bucket), settings=journalled)
    take_over(bucket).close()
    with pytest.raises(RunExistsError, match="closed and whole"):
        prepare_again_in(Camera(first=2), store_of(bucket), settings=SETTINGS)


def test_frames_that_were_spilled_beside_a_bucket_come_back_from_there(
    new_bucket: NewBucket, line: Line, short_end: None, tmp_path: Path
) -> None:
    """The folder that they were spilled to is this machine's own, and noted in the run."""
    bucket, through = new_bucket()
    spilling = SETTINGS.model_copy(update={"overload": "spill", "spill": tmp_path})
    service = prepare_in(Camera(40), store_of(through), "sample", settings=spilling)
    stop = threading.Event()
    line.fate = Outage(8, "lose request")

    def stop_when_spilled(status: AcquisitionStatus) -> None:
        if status.spilled_frames > 5:
            stop.set()

    with pytest.raises(StorageAwayError):
        service.run(stop=stop, on_status=stop_when_spilled)
    line.always("pass")
    committed = read(bucket).history.frames
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    take_over(bucket).close()
    counters = check_whole(bucket)
    assert len(counters) > committed + 5
    assert not any(path.exists() for path in kept)
