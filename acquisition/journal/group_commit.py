"""One flush for all the frames of a window, by a thread that does nothing else."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import StorageError
from forebay.acquisition.journal.journal import FrameJournal

_RECHECK_SECONDS = 0.2

_log = logging.getLogger("forebay.acquisition")


def _nothing(_: str) -> None:
    """Leave the thread as it is."""


class GroupCommit:
    """Flushes a journal when its window ends, or is half full, within a ``with`` block.

    So the thread that adds frames writes on while a flush is going on, and the window ends in time
    also where no frame comes any more.  A flush that fails ends the journal: whoever adds to it
    next is told.

    Parameters
    ----------
    journal
        The journal; it has to be closed after the block.
    clock
        Source of durations, that of the journal.
    on_thread
        Called at the start of its thread, in it, with what it does: ``journal``.

    Examples
    --------
    >>> import tempfile, uuid, numpy as np
    >>> from forebay.acquisition import Frame, Geometry
    >>> run, geometry = str(uuid.uuid4()), Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with (
    ...         FrameJournal(folder, run_id=run, geometry=geometry, epoch=1) as journal,
    ...         GroupCommit(journal),
    ...     ):
    ...         journal.append(Frame(7, 0, np.zeros((4, 6), "uint16")))
    True
    """

    def __init__(
        self,
        journal: FrameJournal,
        *,
        clock: Clock = SYSTEM_CLOCK,
        on_thread: Callable[[str], None] = _nothing,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._on_thread = on_thread
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._flush_in_time, name="journal-flush")

    def __enter__(self) -> Self:
        """Begin to flush."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._journal.waiting.set()
        self._journal.urgent.set()
        self._thread.join()

    def _flush_in_time(self) -> None:
        self._on_thread("journal")
        journal = self._journal
        try:
            journal.prepare()
            self._flush_until_stopped(journal)
        except StorageError as error:
            # The journal has ended, and says so to the thread that adds.
            _log.error("the journal cannot be flushed: %s", error)

    def _flush_until_stopped(self, journal: FrameJournal) -> None:
        while not self._stopped.is_set():
            # A flush that somebody else asks for takes the signal to stop away.
            if not journal.waiting.wait(_RECHECK_SECONDS) or self._stopped.is_set():
                continue
            if (due := journal.due) is not None:
                self._clock.wait_until(due, journal.urgent)
            journal.flush()
            journal.prepare()
