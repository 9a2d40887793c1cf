"""The threads in which Aravis receives packets."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_THREADS = Path("/proc/self/task")
_PREFIX = "arv_"


def let_aravis_take_after() -> None:
    """Place Aravis' threads as the calling one is placed, which waits for what they receive.

    They are started when a camera is opened, by a thread that may be placed otherwise.
    """
    mine = threading.get_native_id()
    cores, policy = os.sched_getaffinity(mine), os.sched_getscheduler(mine)
    priority = os.sched_getparam(mine)
    for thread in aravis_threads():
        # It may have ended since, or not be ours to place.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.sched_setaffinity(thread, cores)
            os.sched_setscheduler(thread, policy, priority)


def aravis_threads() -> Iterator[int]:
    """Yield the native numbers of the threads of this process that Aravis has given a name."""
    for task in _THREADS.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text().startswith(_PREFIX):
                yield int(task.name)
