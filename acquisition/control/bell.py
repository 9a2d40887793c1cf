"""Waking a thread that waits in a selector."""

import io
import os
import threading


class Bell:
    """Rung by any thread, heard by the one whose selector waits for it.

    Ringing is one call to the system and never waits, however busy the other thread is; ringing
    a bell that was taken down does nothing.
    """

    def __init__(self) -> None:
        # A file object rather than a bare descriptor, so that a forgotten bell is closed.
        self._counter = io.FileIO(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "r+")
        # The number of a closed descriptor may be another file's by the time that it is written.
        self._in_use = threading.Lock()

    def fileno(self) -> int:
        """Return what a selector waits for."""
        return self._counter.fileno()

    def ring(self) -> None:
        """Wake the thread."""
        with self._in_use:
            if not self._counter.closed:
                os.eventfd_write(self._counter.fileno(), 1)

    def answer(self) -> None:
        """Take note of the ringing; only after this is it heard again."""
        os.eventfd_read(self._counter.fileno())

    def take_down(self) -> None:
        """Be done with it."""
        with self._in_use:
            self._counter.close()
