"""Threads and memory are placed as wished where that is permitted; where not, that is said."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from forebay.acquisition.errors import AcquisitionError
from forebay.acquisition.service.scheduling import (
    SchedulingSettings,
    locked_memory,
    place_thread,
    placed_here,
)

CORES = sorted(os.sched_getaffinity(0))
PATIENCE = 10.0

PREAMBLE = """
import json, os, resource
import numpy as np
from forebay.acquisition.service.scheduling import *
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)
"""


def without_rights(script: str) -> object:
    """Run a script in a process of an ordinary user; return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def another_thread() -> Iterator[int]:
    """Give the native number of a thread that waits."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(PATIENCE,))
    thread.start()
    assert thread.native_id is not None
    yield thread.native_id
    end.set()
    thread.join(PATIENCE)


def test_a_thread_is_pinned_and_no_other() -> None:
    """The calling thread keeps its cores."""
    with another_thread() as thread:
        placed = place_thread(SchedulingSettings(cores=(CORES[-1],)), thread=thread)
        assert os.sched_getaffinity(thread) == {CORES[-1]}
    assert placed.cores == (CORES[-1],)
    assert placed.refusals == ()
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_the_calling_thread_is_placed_if_none_is_named() -> None:
    """So a thread can place itself."""
    placed = []

    def place() -> None:
        placed.append(place_thread(SchedulingSettings(cores=(CORES[0],))))

    thread = threading.Thread(target=place)
    thread.start()
    thread.join(PATIENCE)
    assert placed[0].cores == (CORES[0],)
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_cores_that_there_are_not_are_said() -> None:
    """Some of them, or all."""
    with another_thread() as thread:
        some = place_thread(SchedulingSettings(cores=(CORES[0], 1023)), thread=thread)
        assert some.cores == (CORES[0],)
        assert f"it has [{CORES[0]}] only" in some.refusals[0]
        for cores in [(1023,), (2**70,)]:
            none = place_thread(SchedulingSettings(cores=cores), thread=thread)
            assert none.cores == (CORES[0],)
            assert f"there is none of the cores [{cores[0]}]" in none.refusals[0]


def test_a_priority_is_set_or_the_refusal_is_told() -> None:
    """Never an error."""
    with another_thread() as thread:
        placed = place_thread(SchedulingSettings(realtime_priority=1), thread=thread)
        policy = os.sched_getscheduler(thread)
    if placed.refusals:
        assert placed.realtime_priority == 0
        assert policy == os.SCHED_OTHER
    else:
        assert placed.realtime_priority == 1
        assert policy == os.SCHED_FIFO


def test_a_thread_is_placed_for_the_time_of_a_block() -> None:
    """And is as it was behind it."""
    native = threading.get_native_id()
    policy = os.sched_getscheduler(native)
    with placed_here(SchedulingSettings(cores=(CORES[0],), realtime_priority=1)) as placed:
        assert os.sched_getaffinity(native) == {CORES[0]}
        assert placed.cores == (CORES[0],)
    assert sorted(os.sched_getaffinity(native)) == CORES
    assert os.sched_getscheduler(native) == policy


def test_an_ordinary_user_is_told_what_to_allow() -> None:
    """The thread goes on at the ordinary priority."""
    found = without_rights(
        "placed = place_thread(SchedulingSettings(realtime_priority=20))\n"
        "print(json.dumps([placed.realtime_priority, *placed.refusals]))"
    )
    assert isinstance(found, list)
    assert found[0] == 0
    assert len(found) == 2
    assert "`ulimit -r 20`" in found[1]


def test_a_thread_that_is_not_there_cannot_be_placed() -> None:
    """That is an error of the program."""
    beyond = 2**22 + 1  # the kernel gives no such number
    for settings in (SchedulingSettings(), SchedulingSettings(cores=(0,), realtime_priority=1)):
        with pytest.raises(AcquisitionError, match=f"there is no thread {beyond}"):
            place_thread(settings, thread=beyond)


def locked_kilobytes() -> int:
    """Return how much memory of this process is locked."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck"))


def test_memory_is_locked_for_the_time_of_the_block() -> None:
    """16 pages, which any user may lock."""
    before = locked_kilobytes()
    with locked_memory(np.zeros((16, 2048), "uint16")) as refusal:
        assert refusal is None
        assert locked_kilobytes() >= before + 64
    assert locked_kilobytes() == before


def test_shared_memory_can_be_locked_and_closed() -> None:
    """Nothing of the lock keeps it open."""
    memory = shared_memory.SharedMemory(create=True, size=65_536)
    assert memory.buf is not None
    try:
        with locked_memory(memory.buf) as refusal:
            assert refusal is None
            memory.close()
    finally:
        memory.unlink()


def test_memory_that_may_not_be_locked_is_used_as_it_is() -> None:
    """The refusal says how much it was and what to allow."""
    found = without_rights(
        "with locked_memory(np.zeros(2**20, np.uint8)) as refusal:\n    print(json.dumps(refusal))"
    )
    assert isinstance(found, str)
    assert "locking 1048576 bytes of memory is refused" in found
    assert "`ulimit -l 1024`" in found


@pytest.mark.parametrize(
    "wrong",
    [
        {"cores": []},
        {"cores": [-1]},
        {"cores": ["first"]},
        {"realtime_priority": 100},
        {"realtime_priority": -1},
        {"lock_memory": "perhaps"},
        {"nice": 3},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    """Where they are read."""
    with pytest.raises(ValidationError):
        SchedulingSettings.model_validate(wrong)


def test_nothing_is_wished_by_default() -> None:
    """The settings can come from a file."""
    assert place_thread(SchedulingSettings()).refusals == ()
    settings = SchedulingSettings.model_validate_json('{"cores": [0, 1], "realtime_priority": 50}')
    assert settings == SchedulingSettings(cores=(0, 1), realtime_priority=50)
