"""A writer is killed at every call that changes what is stored, and nothing promised is lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acquisition.faults.checks import check_whole, content_of, left_in_flight
from tests.acquisition.faults.completing import Completed
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.killing import Killing, Point, kill_at
from tests.acquisition.faults.promises import promised_frames
from tests.acquisition.faults.recordings import (
    COUNTERS,
    LATER,
    RUN,
    go_on,
    record,
)

pytestmark = pytest.mark.fault


@pytest.fixture
def stride() -> int:
    """Kill at every call, or at every so many of them (``FOREBAY_KILL_STRIDE``)."""
    return int(os.environ.get("FOREBAY_KILL_STRIDE", "1"))


def check_reach(points: list[Point], stride: int) -> None:
    """Print how much was tried, and fail where it proves nothing."""
    promised = [each for each in points if each.promised]
    in_flight = [each for each in points if each.in_flight]
    print(
        f"killed at {len(points)} calls of {len({each.call for each in points})} kinds; "
        f"{len(promised)} times frames were promised, {len(in_flight)} times some were in flight"
    )
    assert promised, "nothing was promised before any kill"
    assert in_flight, "no kill found anything in flight"
    assert len(points) >= 60 // stride
    done = {each.call.split()[0] for each in points}
    assert {"create", "write", "fsync", "fdatasync", "link", "rename"} <= done


def test_a_recording_killed_at_any_call_is_completed_to_the_same_run(
    memory: Callable[[], Path], forks: Forks, stride: int
) -> None:
    """Who resumes it and brings the missing frames has, bit by bit, what it would have been."""
    folder = memory()
    (undisturbed := folder / "undisturbed").mkdir()
    assert forks.start(record, undisturbed, folder / "promises", followed=False).wait() == 0
    check_whole(undisturbed / RUN, range(10, 16))
    killing = Killing(
        folder=str(folder),
        recording="record",
        options={},
        begin=None,
        stride=stride,
        completed=Completed(
            counters=COUNTERS,
            counted=[*range(10, 16)],
            content=content_of(undisturbed / RUN),
        ),
    )
    check_reach(killing.run(parts=2), stride)


def test_a_resumption_killed_at_any_call_is_done_again_to_the_same_run(
    memory: Callable[[], Path], forks: Forks, stride: int
) -> None:
    """The first writer dies within a line of the log, the second anywhere, the third ends."""
    folder = memory()
    (begin := folder / "begin").mkdir()
    log = begin / RUN / "_forebay/log"
    first = forks.start(record, begin, folder / "first")
    second_block = 3
    assert kill_at(
        second_block,
        first,
        begin,
        of=lambda call: call.name == "write" and call.path.is_relative_to(log),
    )
    assert promised_frames(folder / "first") == 2
    assert "the log's last line" in left_in_flight(begin / RUN)

    undisturbed = shutil.copytree(begin, folder / "undisturbed")
    options = {"counters": LATER}
    assert forks.start(go_on, undisturbed, folder / "p", followed=False, **options).wait() == 0
    check_whole(undisturbed / RUN, range(10, 23))
    killing = Killing(
        folder=str(folder),
        recording="go_on",
        options=options,
        begin=str(begin),
        stride=stride,
        completed=Completed(
            counters=LATER,
            counted=[*range(10, 23)],
            content=content_of(undisturbed / RUN),
        ),
    )
    check_reach(killing.run(parts=2), stride)
