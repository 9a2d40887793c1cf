"""Ctrl-C and SIGTERM, as an event that ends the work in order."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.cli.stacks import stacks_on_sigusr1


@contextmanager
def stop_on_signals(what_follows: str) -> Iterator[threading.Event]:
    """Set an event at the first SIGINT or SIGTERM, and raise `KeyboardInterrupt` at each later one.

    SIGUSR1 meanwhile prints on stderr where every thread stands, and changes nothing: for a
    process that seems to hang.

    Parameters
    ----------
    what_follows
        What is done between the first signal and the end, for the user.
    """
    stop = threading.Event()

    def handle(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        told = f"\nforebay: stopping: {what_follows} (again to give that up)\n"
        try:
            sys.stderr.write(told)
        except RuntimeError:
            # The signal has come in the middle of another line.
            os.write(2, told.encode())

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stacks_on_sigusr1():
            yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
