"""An event loop whose child processes leave Ctrl-C, SIGTERM and SIGHUP to their parent.

A terminal sends SIGINT to every process of the foreground group, and SIGHUP when it goes; systemd
sends SIGTERM to every process of a service.  So a worker would die of what its parent wants to answer by letting
units finish.  A process inherits its signal mask from the thread that starts it, through ``exec``
too, and a thread from the one that made it.  A loop that is made while they are blocked therefore
starts workers that never see them, from their first instruction on, also those that a nanny starts
again later.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop


_HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep these signals from this thread, and from what it starts, until the block ends."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def sheltered_loop() -> Iterator["IOLoop"]:
    """Run an event loop in a thread of its own, where these signals are blocked.

    Yields
    ------
    IOLoop
        The running loop; it ends with the block.
    """
    from distributed.utils import LoopRunner

    # Starting the tracker unblocks two of them in the thread that does it, which must not be the
    # loop.  It ignores these two, and would be ended by the third one.
    with signals_held():
        resource_tracker.ensure_running()
    runner: Any = LoopRunner()
    with signals_held():
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()
