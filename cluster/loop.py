"""An event loop whose child processes leave Ctrl-C and SIGTERM to their parent.

A terminal sends SIGINT to every process of the foreground group, and systemd sends SIGTERM to
every process of a service, so a worker would die of what its parent wants to answer by letting
units finish.  A process inherits its signal mask from the thread that starts it, through ``exec``
too, and a thread from the one that made it.  A loop that is made while both are blocked therefore
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


_HELD = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep SIGINT and SIGTERM from this thread, and from what it starts, until the block ends."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def sheltered_loop() -> Iterator["IOLoop"]:
    """Run an event loop in a thread of its own, where SIGINT and SIGTERM are blocked.

    Yields
    ------
    IOLoop
        The running loop; it ends with the block.
    """
    from distributed.utils import LoopRunner

    # Starting the tracker unblocks them in the thread that does it, which must not be the loop.
    resource_tracker.ensure_running()
    runner: Any = LoopRunner()
    with signals_held():
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()
