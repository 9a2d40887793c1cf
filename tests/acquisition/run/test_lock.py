"""A run has one writer at a time, and a writer that is gone holds nothing."""

import gc
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.acquisition.errors import RunExistsError, RunLockedError, RunNotFoundError

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint8"))

OTHER = """
import sys, time
from forebay.acquisition import RunWriter
writer = RunWriter.resume(sys.argv[1])
print("writing", flush=True)
time.sleep(60)
"""


def frame(counter: int) -> Frame:
    return Frame(counter, counter, np.zeros((3, 4), "uint8"))


def test_the_same_process_is_no_second_writer(tmp_path: Path) -> None:
    """A run that is being written is not resumed, though the writer is of this very process."""
    path = tmp_path / "run"
    with RunWriter.create(path, GEOMETRY, frames_per_block=1) as writer:
        for _ in range(2):
            with pytest.raises(RunLockedError, match=f"is being written by process {os.getpid()}"):
                RunWriter.resume(path)
        assert open_run(path).writer == open_run(path).writer
        assert str(open_run(path).writer).startswith(f"process {os.getpid()} on ")
        writer.append(frame(0))
    assert open_run(path).history.frames == 1
    assert open_run(path).writer is None


def test_another_process_keeps_its_run_until_it_is_killed(tmp_path: Path) -> None:
    """The lock is the kernel's: it holds while the writer lives, and ends with it, however."""
    path = tmp_path / "run"
    RunWriter.create(path, GEOMETRY, frames_per_block=1).abandon()
    with subprocess.Popen([sys.executable, "-c", OTHER, path], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"writing\n"
        with pytest.raises(RunLockedError, match=f"is being written by process {other.pid} on"):
            RunWriter.resume(path)
        assert str(open_run(path).writer).startswith(f"process {other.pid} on ")
        other.send_signal(signal.SIGKILL)
    assert open_run(path).writer is None
    with RunWriter.resume(path) as writer:
        writer.append(frame(0))
    assert open_run(path).history.epoch == 3


def test_a_reader_does_not_disturb_the_lock(tmp_path: Path) -> None:
    """Asking who writes, and closing the file again, takes nothing from the writer."""
    path = tmp_path / "run"
    with RunWriter.create(path, GEOMETRY):
        for _ in range(3):
            assert open_run(path).writer
        with pytest.raises(RunLockedError):
            RunWriter.resume(path)


def test_a_forked_process_does_not_keep_the_run(tmp_path: Path) -> None:
    """A process forked from the writer shares its lock; the writer gives it back for both."""
    path = tmp_path / "run"
    script = f"""
import os, time, numpy as np
from forebay.acquisition import Geometry, RunWriter
writer = RunWriter.create({str(path)!r}, Geometry(("y", "x"), (3, 4), np.dtype("u1")))
child = os.fork()
if child == 0:
    time.sleep(60)
writer.abandon()
RunWriter.resume({str(path)!r}).close()
os.kill(child, 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert open_run(path).closed


def test_a_forgotten_writer_lets_go(tmp_path: Path) -> None:
    """A writer that nobody holds any more gives its run back, and warns as an open file does."""
    path = tmp_path / "run"
    writer = RunWriter.create(path, GEOMETRY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del writer
        gc.collect()
    assert {each.category for each in caught} == {ResourceWarning}
    RunWriter.resume(path).close()


def test_a_resume_that_fails_gives_the_lock_back(tmp_path: Path) -> None:
    """A closed run is refused each time for the same reason, not because it is locked."""
    path = tmp_path / "run"
    RunWriter.create(path, GEOMETRY).close()
    for _ in range(2):
        with pytest.raises(RunExistsError, match="is closed and whole"):
            RunWriter.resume(path)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Taking the lock never changes a file outside the run."""
    path, outside = tmp_path / "run", tmp_path / "outside"
    RunWriter.create(path, GEOMETRY).abandon()
    outside.write_text("mine")
    (path / "_forebay/writer.lock").unlink()
    (path / "_forebay/writer.lock").symlink_to(outside)
    with pytest.raises(OSError, match="cannot write the run"):
        RunWriter.resume(path)
    assert outside.read_text() == "mine"


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    """Resuming makes nothing."""
    with pytest.raises(RunNotFoundError, match="is not a run"):
        RunWriter.resume(tmp_path)
    assert list(tmp_path.iterdir()) == []
