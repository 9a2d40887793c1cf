"""Ctrl-C and SIGTERM, as an event that ends the work in order."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(what_follows: str) -> Iterator[threading.Event]:
    """Set an event at the first SIGINT or SIGTERM, and raise `KeyboardInterrupt` at each later one.

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
        sys.stderr.write(f"\nforebay: stopping: {what_follows} (again to give that up)\n")

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
