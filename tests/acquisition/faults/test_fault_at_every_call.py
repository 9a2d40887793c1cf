"""A writer is killed, or refused, at every call that changes what is stored: nothing is lost."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.acquisition.faults.checks import check_whole, content_of, left_in_flight
from tests.acquisition.faults.completed import Completed
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.recordings import (
    COUNTERS,
    LATER,
    RUN,
    Recording,
    go_on,
    record,
    record_each_frame,
)
from tests.acquisition.faults.sweep import Point, Sweep, fault_at

pytestmark = pytest.mark.fault

PARTS = 2
"""Processes at a time."""


@dataclass
class Stage:
    """Where recordings are made."""

    folder: Path
    forks: Forks

    def killed(self, recording: Recording, *, line: int) -> Path:
        """Make a recording that is killed within a line of the log, counted from that of the start."""
        (disk := self.folder / "begin").mkdir()
        log = disk / RUN / "_forebay/log"
        child = self.forks.start(recording, disk, self.folder / "first", counters=COUNTERS)
        assert fault_at(
            line, child, disk, of=lambda call: call.name == "write" and call.path.parent == log
        )
        assert child.wait() < 0
        assert "the log's last line" in left_in_flight(disk / RUN)
        return disk

    def sweep(
        self, recording: Recording, counters: tuple[int, ...], *, begin: Path | None = None
    ) -> Sweep:
        """Return the sweep over a recording that brings the frames with these counters.

        Who resumes what met the fault, and brings the frames that are missing, must have, bit by
        bit, what comes of it undisturbed.
        """
        undisturbed = self.folder / "undisturbed"
        if begin:
            shutil.copytree(begin, undisturbed)
        else:
            undisturbed.mkdir()
        promises, options = self.folder / "promises", {"counters": counters}
        child = self.forks.start(recording, undisturbed, promises, followed=False, **options)
        assert child.wait() == 0
        counted = [*range(COUNTERS[0], counters[-1] + 1)]
        check_whole(undisturbed / RUN, counted)
        return Sweep(
            folder=str(self.folder),
            recording=recording.__name__,
            options=options,
            begin=str(begin) if begin else None,
            error=None,
            stride=1,
            completed=Completed(
                counters=counters, counted=counted, content=content_of(undisturbed / RUN)
            ),
        )


@pytest.fixture
def stage(memory: Callable[[], Path], forks: Forks) -> Stage:
    """A place in memory."""
    return Stage(memory(), forks)


@pytest.fixture
def recording(stage: Stage) -> Sweep:
    """A run of three blocks goes through the service."""
    return stage.sweep(record, COUNTERS)


@pytest.fixture
def resumption(stage: Stage) -> Sweep:
    """A run is resumed whose writer died within the line of its second block."""
    return stage.sweep(go_on, LATER, begin=stage.killed(record, line=3))


@pytest.fixture
def journalled_recording(stage: Stage) -> Sweep:
    """Each frame is put into a journal before its block."""
    return stage.sweep(record_each_frame, COUNTERS)


@pytest.fixture
def journalled_resumption(stage: Stage) -> Sweep:
    """The service goes on with a run of which no block is committed, and frames are in the journal."""
    begin = stage.killed(record_each_frame, line=2)
    return stage.sweep(record_each_frame, LATER, begin=begin)


def tried(sweep: Sweep, warmed: Path) -> list[Point]:
    """Meet the fault at the calls; fail where it proves nothing.

    ``FOREBAY_FAULT_STRIDE=1`` takes every call where otherwise only some are taken.
    """
    stride = int(os.environ.get("FOREBAY_FAULT_STRIDE", sweep.stride))
    points = replace(sweep, stride=stride).run(warmed / "python", parts=PARTS)
    promised = [each for each in points if each.promised]
    in_flight = [each for each in points if each.in_flight]
    coped = [each for each in points if each.ended == 0]
    print(
        f"{len(points)} calls of {len({each.call for each in points})} kinds met the fault; "
        f"{len(promised)} times frames were promised, {len(in_flight)} times some were in flight, "
        f"{len(coped)} times the writer coped"
    )
    assert len(points) >= 60 // stride
    assert promised, "nothing was promised in any of them"
    return points


@pytest.mark.parametrize(
    ("which", "stride"),
    [
        ("recording", 1),
        ("resumption", 1),
        ("journalled_recording", 13),
        ("journalled_resumption", 13),
    ],
)
def test_a_writer_killed_at_any_call_leaves_a_run_that_is_completed_to_the_same(
    which: str, stride: int, warmed: Path, request: pytest.FixtureRequest
) -> None:
    """All that it promised can be read, and what was in flight is sorted out by who comes next."""
    sweep: Sweep = request.getfixturevalue(which)
    points = tried(replace(sweep, stride=stride), warmed)
    assert any(each.in_flight for each in points), "no kill found anything in flight"
    done = {each.call.split()[0] for each in points}
    assert {"create", "write", "fsync", "fdatasync", "link", "rename"} <= done or stride > 1


@pytest.mark.parametrize(
    ("error", "stride"), [(errno.EIO, 7), (errno.ENOSPC, 11)], ids=["EIO", "ENOSPC"]
)
@pytest.mark.parametrize("which", ["recording", "resumption"])
def test_a_writer_refused_once_at_any_call_copes_or_ends_with_an_error(
    which: str, error: int, stride: int, warmed: Path, request: pytest.FixtureRequest
) -> None:
    """It ends well with the whole run, or says that it could not, and promised only what is there."""
    sweep: Sweep = request.getfixturevalue(which)
    points = tried(replace(sweep, error=error, stride=stride), warmed)
    assert any(each.ended for each in points), "it was never refused what it needs"
    if which == "recording":
        assert not all(each.ended for each in points), "the service never coped"
