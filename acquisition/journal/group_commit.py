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
    also where no frame comes any more.  A second thread makes room for what comes, which may take
    the storage far longer than a window.  A flush that fails ends the journal: whoever adds to it
    next is told.

    Parameters
    ----------
    journal
        The journal; it has to be closed after the block.
    clock
        Source of durations, that of the journal.
    on_thread
        Called at the start of each thread, in it, with what it does: ``journal``, ``journal-room``.

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
        self._room_wanted = threading.Event()
        self._room_wanted.set()
        # Daemons, so that a storage that never comes back does not keep the process.
        self._threads = [
            threading.Thread(target=self._run, args=(what, work), name=name, daemon=True)
            for what, work, name in (
                ("journal", self._flush_in_time, "journal-flush"),
                ("journal-room", self._make_room, "journal-room"),
            )
        ]

    def __enter__(self) -> Self:
        """Begin to flush."""
        for thread in self._threads:
            thread.start()
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
        self._room_wanted.set()
        for thread in self._threads:
            thread.join()

    def _run(self, what: str, work: Callable[[FrameJournal], None]) -> None:
        self._on_thread(what)
        try:
            work(self._journal)
        except StorageError as error:
            # The journal has ended, and says so to the thread that adds.
            _log.error("the journal cannot be written: %s", error)

    def _make_room(self, journal: FrameJournal) -> None:
        while not self._stopped.is_set():
            self._room_wanted.wait()
            self._room_wanted.clear()
            if not self._stopped.is_set():
                journal.prepare()

    def _flush_in_time(self, journal: FrameJournal) -> None:
        while not self._stopped.is_set():
            # A flush that somebody else asks for takes the signal to stop away.
            if not journal.waiting.wait(_RECHECK_SECONDS) or self._stopped.is_set():
                continue
            if (due := journal.due) is not None:
                self._clock.wait_until(due, journal.urgent)
            journal.flush()
            self._room_wanted.set()
