"""A disk that is slower than it is: so that a policy for overload has something to do."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def slow_disk(folder: Path, *, bytes_per_second: float) -> Iterator[None]:
    """Let this process write no more frames than that below a folder, within the block.

    A write takes as long as it takes, and then until the bytes before it and its own would be
    there at that speed.
    """
    original, taking_turns = os.pwritev, threading.Lock()
    free_at = time.monotonic()

    def pwritev(descriptor: int, buffers: Any, offset: int, flags: int = 0) -> int:
        nonlocal free_at
        written = original(descriptor, buffers, offset, flags)
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(folder):
            with taking_turns:
                free_at = max(free_at, time.monotonic()) + written / bytes_per_second
                until = free_at
            time.sleep(max(0.0, until - time.monotonic()))
        return written

    os.pwritev = pwritev
    try:
        yield
    finally:
        os.pwritev = original
