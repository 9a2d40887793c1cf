"""Workers that are forked from a process that has imported what they need."""

import subprocess
import sys

LATE = """
import os
from _multiprocessing import sem_unlink
from multiprocessing import resource_tracker

from distributed.utils import get_mp_context
from forebay.cluster.forking import forked_workers


class Wrong:
    def __reduce__(self):
        return open, ("/nonexistent/file",)


if __name__ == "__main__":
    with forked_workers([]):
        context = get_mp_context()
        lock = context.Lock()
        name = lock._semlock.name
        sem_unlink(name)
        resource_tracker.unregister(name, "semaphore")
        for given in (lock, Wrong()):
            process = context.Process(target=print, args=(given,))
            process.start()
            process.join()
            print(process.exitcode)
    # Nothing is to be tidied up that is gone.
    os.sys.stdout.flush()
    os._exit(0)
"""


def test_a_worker_that_comes_after_its_cluster_has_gone_says_nothing() -> None:
    """What it was to be told with is gone; other errors are shown as ever."""
    ended = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, check=False, timeout=120
    )
    assert "/nonexistent/file" in ended.stderr
    assert ended.stderr.count("Traceback") == 1, ended.stderr
    assert "synchronize.py" not in ended.stderr
