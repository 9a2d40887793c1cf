"""A recording of frames that a program in C writes is a run as any other."""

import threading
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.sources.shared_memory.conftest import Connect, Open, Run
from tests.acquisition.sources.shared_memory.programs import PATIENT, ramp

import forebay
from forebay.acquisition.errors import SourceError
from forebay.acquisition.service.flow import OverloadPolicy


def test_what_a_program_in_c_writes_is_committed(listen: Open, run: Run, tmp_path: Path) -> None:
    """Each frame, uncopied until it is stored; the source waits for the recorder."""
    run(frames=100)
    source = listen().wait(timeout=PATIENT)
    status = forebay.acquire(source, tmp_path / "run", frames_per_block=8)
    assert (status.committed, status.dropped, status.flow) == (100, 0, "normal")
    frames = forebay.open_run(tmp_path / "run").frames
    np.testing.assert_array_equal(frames.values, [ramp(counter) for counter in range(100)])


def test_what_found_no_room_is_written_down(listen: Open, run: Run, tmp_path: Path) -> None:
    """The sums close, whatever the program had to skip, also at the end."""
    program = run(frames=400, rate=20_000, width=64, height=64)
    source = listen(lent_slots=1).wait(timeout=PATIENT)
    status = forebay.acquire(source, tmp_path / "run", frames_per_block=8, buffer_bytes=2**18)
    skipped = int(program.communicate()[0].split()[2])
    assert (status.committed, status.dropped, status.counted) == (400 - skipped, skipped, 400)


def test_what_was_skipped_at_the_end_is_written_down(
    listen: Open, connect: Connect, tmp_path: Path
) -> None:
    """The goodbye says how far the program has counted."""
    source, producer = listen(), connect()

    def write() -> None:
        producer.answer()
        producer.send(3)
        producer.say_goodbye(counted=5)

    writing = threading.Thread(target=write)
    writing.start()
    status = forebay.acquire(source.wait(timeout=PATIENT), tmp_path / "run")
    writing.join()
    assert (status.committed, status.dropped, status.counted) == (3, 3, 6)
    run = forebay.open_run(tmp_path / "run")
    assert [(each.first, each.last) for each in run.dropped] == [(3, 5)]


def test_a_program_that_is_killed_leaves_a_run_that_says_so(
    listen: Open, run: Run, tmp_path: Path
) -> None:
    program = run(frames=10**9)
    source = listen().wait(timeout=PATIENT)
    with pytest.raises(SourceError, match=f"process {program.pid}, .* has died"):
        forebay.acquire(
            source,
            tmp_path / "run",
            frames_per_block=8,
            buffer_bytes=2**14,
            on_status=lambda status: program.kill() if status.committed else None,
        )
    left = forebay.open_run(tmp_path / "run")
    assert left.closed
    counters = left.frames["frame_id"].values
    np.testing.assert_array_equal(counters, np.arange(len(counters)))
    assert len(counters) >= 8


@pytest.mark.parametrize("policy", ["drop-oldest", "decimate"])
def test_a_policy_that_would_need_the_frames_elsewhere_is_refused(
    listen: Open, run: Run, tmp_path: Path, policy: OverloadPolicy
) -> None:
    run(frames=1)
    source = listen().wait(timeout=PATIENT)
    with pytest.raises(SourceError, match=f"overload = '{policy}' cannot be"):
        forebay.acquire(source, tmp_path / "run", overload=policy)
