"""Running something in a process of its own, forked from this one."""

import os
import sys
import traceback
from collections.abc import Callable


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; return what it ended with, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (nothing of the child may go on in the parent's code)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
