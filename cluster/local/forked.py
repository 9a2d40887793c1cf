"""Imported by the process that local workers are forked from: it speaks of no cluster that is gone.

On a machine that is busy enough a worker is forked only once its cluster has been given up.  What it
was to be told with is gone by then, and multiprocessing would show a traceback for that.
"""

import sys
from multiprocessing import synchronize
from traceback import walk_tb
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    files = [frame.f_code.co_filename for frame, _ in walk_tb(traceback)]
    if kind is FileNotFoundError and files[-1:] == [synchronize.__file__]:
        return
    sys.__excepthook__(kind, error, traceback)


sys.excepthook = _told
