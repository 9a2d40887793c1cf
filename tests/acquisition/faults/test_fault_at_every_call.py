"""A writer is killed, or refused, at every call that changes what is stored: nothing is lost."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.acquisition.faults.checks import check_whole, content_of, left_in_flight
from tests.acquisition.faults.completed import Completed
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.promises import promised_frames
from tests.acquisition.faults.recordings import COUNTERS, LATER, RUN, go_on, record
from tests.acquisition.faults.sweep import Point, Sweep, fault_at

pytestmark = pytest.mark.fault

PARTS = 2
"""Processes at a time."""


@pytest.fixture
def recording(memory: Callable[[], Path], forks: Forks) -> Sweep:
    """A run of three blocks through the service, each call of which is to meet a fault.

    Who resumes it and brings the missing frames must have, bit by bit, what it would have been.
    """
    folder = memory()
    (undisturbed := folder / "undisturbed").mkdir()
    assert forks.start(record, undisturbed, folder / "promises", followed=False).wait() == 0
    counted = [*range(COUNTERS[0], COUNTERS[-1] + 1)]
    check_whole(undisturbed / RUN, counted)
    return Sweep(
        folder=str(folder),
        recording="record",
        options={},
        begin=None,
        error=None,
        stride=1,
        completed=Completed(
            counters=COUNTERS, counted=counted, content=content_of(undisturbed / RUN)
        ),
    )


@pytest.fixture
def resumption(memory: Callable[[], Path], forks: Forks) -> Sweep:
    """A run is resumed whose writer died within a line of the log, and gets two more blocks."""
    folder = memory()
    (begin := folder / "begin").mkdir()
    log = begin / RUN / "_forebay/log"
    first = forks.start(record, begin, folder / "first")
    assert fault_at(
        3,  # behind the line of the start and that of the first block
        first,
        begin,
        of=lambda call: call.name == "write" and call.path.is_relative_to(log),
    )
    assert first.wait() < 0
    assert promised_frames(folder / "first") == 2
    assert "the log's last line" in left_in_flight(begin / RUN)

    undisturbed = shutil.copytree(begin, folder / "undisturbed")
    options = {"counters": LATER}
    assert forks.start(go_on, undisturbed, folder / "p", followed=False, **options).wait() == 0
    counted = [*range(COUNTERS[0], LATER[-1] + 1)]
    check_whole(undisturbed / RUN, counted)
    return Sweep(
        folder=str(folder),
        recording="go_on",
        options=options,
        begin=str(begin),
        error=None,
        stride=1,
        completed=Completed(counters=LATER, counted=counted, content=content_of(undisturbed / RUN)),
    )


def tried(sweep: Sweep) -> list[Point]:
    """Meet the fault at the calls; fail where it proves nothing.

    ``FOREBAY_FAULT_STRIDE=1`` takes every call where otherwise only some are taken.
    """
    stride = int(os.environ.get("FOREBAY_FAULT_STRIDE", sweep.stride))
    points = replace(sweep, stride=stride).run(parts=PARTS)
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


@pytest.mark.parametrize("which", ["recording", "resumption"])
def test_a_writer_killed_at_any_call_leaves_a_run_that_is_completed_to_the_same(
    which: str, request: pytest.FixtureRequest
) -> None:
    """All that it promised can be read, and what was in flight is sorted out by who comes next."""
    points = tried(request.getfixturevalue(which))
    assert any(each.in_flight for each in points), "no kill found anything in flight"
    done = {each.call.split()[0] for each in points}
    assert {"create", "write", "fsync", "fdatasync", "link", "rename"} <= done


@pytest.mark.parametrize(
    ("error", "stride"), [(errno.EIO, 7), (errno.ENOSPC, 11)], ids=["EIO", "ENOSPC"]
)
@pytest.mark.parametrize("which", ["recording", "resumption"])
def test_a_writer_refused_once_at_any_call_copes_or_ends_with_an_error(
    which: str, error: int, stride: int, request: pytest.FixtureRequest
) -> None:
    """It ends well with the whole run, or says that it could not, and promised only what is there."""
    sweep: Sweep = request.getfixturevalue(which)
    points = tried(replace(sweep, error=error, stride=stride))
    assert any(each.ended for each in points), "it was never refused what it needs"
    if which == "recording":
        assert not all(each.ended for each in points), "the service never coped"
