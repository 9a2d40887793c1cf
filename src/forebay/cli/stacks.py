"""Where each thread stands, told when SIGUSR1 asks for it."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_OVER: Final = bytes(1)
"""The number of no signal."""


@contextmanager
def stacks_on_sigusr1() -> Iterator[None]:
    """Print on stderr where every thread stands at each SIGUSR1; nothing else changes.

    A thread of its own does that, as the main one may be what hangs.  It holds the interpreter
    while it looks: `faulthandler`, which does not, reads what other threads are just giving back,
    and has ended busy services so.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    telling = threading.Thread(target=_tell, args=(reading,), name="forebay-stacks", daemon=True)
    telling.start()
    # Python writes the number of each signal there that has a handler.
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    # What waits in a system call goes on to wait.
    signal.siginterrupt(signal.SIGUSR1, False)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, handler)
        signal.set_wakeup_fd(before)
        # Its end would not be seen where a forked process has it, too.
        os.write(writing, _OVER)
        telling.join()
        os.close(writing)
        os.close(reading)


def _tell(reading: int) -> None:
    """Print at each SIGUSR1, until it is over."""
    while (number := os.read(reading, 1)) != _OVER:
        if number[0] == signal.SIGUSR1:
            with contextlib.suppress(OSError):
                os.write(2, _stacks().encode())


def _stacks() -> str:
    names = {each.ident: each.name for each in threading.enumerate()}
    return "".join(
        f"\nThread {names.get(number, number)} (most recent call first):\n"
        + "".join(
            f'  File "{frame.f_code.co_filename}", line {line} in {frame.f_code.co_qualname}\n'
            for frame, line in traceback.walk_stack(top)
        )
        for number, top in sys._current_frames().items()  # noqa: SLF001 (it is documented)
    )
