"""An event loop whose child processes leave Ctrl-C to their parent.

A terminal sends SIGINT to every process of the foreground group, so a worker would die of the
Ctrl-C that its parent wants to answer by letting units finish.  A process inherits its signal
mask from the thread that starts it, through ``exec`` too, and a thread from the one that made
it.  A loop that is made while SIGINT is blocked therefore starts workers that never see it, from
their first instruction on, also those that a nanny starts again later.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep SIGINT from this thread, and from what it starts, until the block ends."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def sheltered_loop() -> Iterator["IOLoop"]:
    """Run an event loop in a thread of its own, where SIGINT is blocked.

    Yields
    ------
    IOLoop
        The running loop; it ends with the block.
    """
    from distributed.utils import LoopRunner

    # Starting the tracker unblocks SIGINT in the thread that does it, which must not be the loop.
    resource_tracker.ensure_running()
    runner: Any = LoopRunner()
    with interrupts_held():
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()
