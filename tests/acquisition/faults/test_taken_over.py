"""A run is taken over from a writer that stands still; when that one moves again it does no harm."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from tests.acquisition.faults.checks import check_readers, check_sums
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.interception import End
from tests.acquisition.faults.promises import promised_frames, read_promises
from tests.acquisition.faults.recordings import COUNTERS, LATER, RUN, frame, record
from tests.acquisition.faults.system_calls import Call

from forebay.acquisition import RunWriter, open_run
from forebay.acquisition.errors import RunExistsError

pytestmark = pytest.mark.fault


def take_over(path: Path) -> bool:
    """Take a run over and close it; False where there is none yet, or it is closed already."""
    if not path.exists():
        return False
    try:
        with RunWriter.resume(path, take_over=True) as writer:
            for counter in LATER:
                writer.append(frame(counter))
    except RunExistsError:
        assert open_run(path).closed
        return False
    return True


def test_a_writer_that_stood_still_at_any_call_promises_nothing_that_the_next_one_has_not(
    memory: Callable[[], Path], forks: Forks
) -> None:
    """It ends with an error, and the run is what the one who took it over has made of it.

    ``FOREBAY_FAULT_STRIDE=1`` takes every call where otherwise only some are taken.
    """
    folder = memory()
    stride = int(os.environ.get("FOREBAY_FAULT_STRIDE", "7"))
    taken, promised = 0, 0
    for number in count(1, stride):
        (disk := folder / f"{number}").mkdir()
        promises = folder / f"{number}-promises"
        passed, met, was_taken = count(1), "", False

        def stand_still(call: Call) -> End:
            nonlocal met, was_taken
            if next(passed) == number:  # noqa: B023 (called within this turn of the loop only)
                met = f"{call.name} {call.path}"
                was_taken = take_over(disk / RUN)
            return End.DONE

        child = forks.start(record, disk, promises, show_seconds=0.0)
        child.follow(disk, stand_still)
        status = child.wait()
        if not met:
            break
        check_end(disk / RUN, promises, was_taken=was_taken, status=status, where=met)
        taken += was_taken
        promised += was_taken and promised_frames(promises) > 0
    print(f"taken over at {taken} calls, at {promised} of them after frames had been promised")
    assert promised


def check_end(path: Path, promises: Path, *, was_taken: bool, status: int, where: str) -> None:
    """Compare what the writer said with what is there."""
    last = LATER[-1] if was_taken else COUNTERS[-1]
    said = read_promises(promises)[-1]
    # Where the run was closed already, the other one has shown it, which is in the way of this one.
    assert said.get("failed") in {"RunTakenOverError", "StorageError", None}, f"{where}: {said}"
    assert status or not was_taken, f"{where}: {said}"
    first = COUNTERS[0] if open_run(path).history.first_counter == COUNTERS[0] else LATER[0]
    # It may have shown, as its last deed, what it knew itself; who asks for the run shows it anew.
    # What it had not named lies aside, where nobody looks.
    assert not take_over(path)
    check_sums(path, range(first, last + 1))
    check_readers(path, all_shown=True)
    counters = open_run(path).frames.frame_id.to_numpy().tolist()
    frames = promised_frames(promises)
    assert counters[:frames] == list(COUNTERS[:frames]), f"{where}: {frames} frames were promised"
