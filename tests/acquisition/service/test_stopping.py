"""A recording that is stopped or interrupted ends, and keeps what has come."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acquisition.service.scripted import (
    LONG,
    SMALL,
    Scripted,
    check_sums,
    no_thread_is_left,
    reason,
    slow_recorder,
)

from forebay.acquisition import (
    AcquisitionStatus,
    acquire,
    open_run,
)
from forebay.acquisition.errors import SourceError
from forebay.acquisition.service import acquisition as service

__all__ = ["no_thread_is_left", "slow_recorder"]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests were started without that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_stop_commits_what_has_come(tmp_path: Path) -> None:
    """An endless source is stopped once, and the frames until then are all there."""
    stop = threading.Event()
    source = Scripted(range(LONG))

    def after_some(status: AcquisitionStatus) -> None:
        if status.committed >= 20:
            stop.set()

    status = acquire(
        source,
        tmp_path / "run",
        frames_per_block=4,
        buffer_bytes=SMALL,
        stop=stop,
        on_status=after_some,
    )
    run = open_run(tmp_path / "run")
    taken = check_sums(run, status)
    assert taken == list(range(len(taken)))
    assert 20 <= len(taken) < LONG
    assert reason(run) == "stopped by the operator"
    assert source.stops == 1


@pytest.mark.usefixtures("slow_recorder")
@pytest.mark.parametrize("can_wait", [True, False])
def test_a_stop_while_the_ring_is_full_ends(tmp_path: Path, can_wait: bool) -> None:
    """What is in the ring is recorded, and a source that waits for room gets it."""
    stop = threading.Event()
    source = Scripted([*range(50), stop.set, *range(50, 10_000)], can_wait=can_wait)
    status = acquire(source, tmp_path / "run", frames_per_block=4, buffer_bytes=SMALL, stop=stop)
    check_sums(open_run(tmp_path / "run"), status)
    assert status.ring_highest == 7 * 4
    assert status.dropped == 0 or not can_wait
    assert source.ended.is_set()


def test_a_stop_before_the_start_gives_an_empty_run(tmp_path: Path) -> None:
    """A stop that is set already ends the acquisition as soon as it begins."""
    stop = threading.Event()
    stop.set()
    waiting = threading.Event()
    source = Scripted([lambda: waiting.wait(0.3), *range(10)])
    acquire(source, tmp_path / "run", frames_per_block=4, stop=stop)
    check_sums(open_run(tmp_path / "run"))


def test_a_source_that_hangs_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames are committed, the run is closed, and an error says that it did not end."""
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", 0.2)
    release, stop = threading.Event(), threading.Event()
    source = Scripted([*range(6), stop.set, release.wait, 6, 7])
    try:
        with pytest.raises(SourceError, match=r"did not end within 0\.2 s .* 6 fr"):
            acquire(source, tmp_path / "run", frames_per_block=4, stop=stop)
        run = open_run(tmp_path / "run")
        assert check_sums(run) == list(range(6))
        assert reason(run) == "stopped by the operator; the source did not end"
    finally:
        release.set()
        for thread in threading.enumerate():
            if thread.name == "forebay-source":
                thread.join(60)
    assert check_sums(open_run(tmp_path / "run")) == list(range(6))


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("hangs", [False, True])
def test_ctrl_c_closes_the_run_and_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """A KeyboardInterrupt in the caller's thread: what has come is committed first."""
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", 0.2)
    release = threading.Event()

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        if hangs:
            release.wait(60)

    source = Scripted([*range(6), interrupt, *range(6, LONG)])
    try:
        with pytest.raises(KeyboardInterrupt):
            acquire(source, tmp_path / "run", frames_per_block=4, buffer_bytes=SMALL)
        run = open_run(tmp_path / "run")
        taken = check_sums(run)
        assert taken == list(range(len(taken)))
        assert 6 <= len(taken) < LONG
        assert reason(run).startswith("interrupted: KeyboardInterrupt")
    finally:
        release.set()
        assert source.ended.wait(60)
        for thread in threading.enumerate():
            if thread.name == "forebay-source":
                thread.join(60)


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    """The run goes on to its end in the background, and can be resumed if it does not."""
    release = threading.Event()

    def interrupt_twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
        release.wait(60)

    began = time.monotonic()
    source = Scripted([*range(6), interrupt_twice])
    with pytest.raises(KeyboardInterrupt):
        acquire(source, tmp_path / "run", frames_per_block=4)
    assert time.monotonic() - began < 30
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("forebay-"):
            thread.join(60)
    assert check_sums(open_run(tmp_path / "run")) == list(range(6))
