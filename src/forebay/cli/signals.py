"""Ctrl-C, SIGTERM and a terminal that goes, as an event that ends the work in order."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.cli.stacks import stacks_on_sigusr1


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask this process to end, as far as they are not ignored on purpose."""
    asked = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return tuple(asked)


@contextmanager
def stop_on_signals(what_follows: str) -> Iterator[threading.Event]:
    """Set an event at the first SIGINT, SIGTERM or SIGHUP; `KeyboardInterrupt` at each later one.

    Later ones of SIGHUP say nothing new: a terminal that goes sends it by way of the shell and once
    more by itself.  Under ``nohup``, which has it ignored, it stays so.

    SIGUSR1 meanwhile prints on stderr where every thread stands, and changes nothing: for a
    process that seems to hang.

    Parameters
    ----------
    what_follows
        What is done between the first signal and the end, for the user.
    """
    stop = threading.Event()

    def handle(number: int, _: object) -> None:
        if stop.is_set():
            if number == signal.SIGHUP:
                return
            raise KeyboardInterrupt
        stop.set()
        told = f"\nforebay: stopping: {what_follows} (again to give that up)\n"
        # Where the terminal has gone nobody can be told.
        with contextlib.suppress(OSError):
            try:
                sys.stderr.write(told)
            except RuntimeError:
                # The signal has come in the middle of another line.
                os.write(2, told.encode())

    previous = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        with stacks_on_sigusr1():
            yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
