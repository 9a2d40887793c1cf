"""Doing apart what takes as long as a storage takes, so that nobody else waits for it."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator


class Errands[T]:
    """A thread that does one thing after another, each for somebody.

    Parameters
    ----------
    most
        How many may wait for the one that is being done.
    on_done
        Called by the thread after each; what came of it is in `done` by then.
    """

    def __init__(self, *, most: int, on_done: Callable[[], None]) -> None:
        self._most = most
        # One more for the end.
        self._asked: queue.Queue[tuple[T, Callable[[], bytes]] | None] = queue.Queue(most + 1)
        self._done: deque[tuple[T, bytes]] = deque()
        self._on_done = on_done
        # A daemon, so that a storage that hangs does not keep the process.
        self._thread = threading.Thread(target=self._run, name="forebay-notes", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self, whose: T, deed: Callable[[], bytes]) -> bool:
        """Have something done, behind all that was asked for before; False where too many wait.

        To be called by one thread only.
        """
        if self._asked.qsize() >= self._most:
            return False
        self._asked.put_nowait((whose, deed))
        return True

    def done(self) -> Iterator[tuple[T, bytes]]:
        """Yield what has been done since this was asked last, and for whom."""
        while self._done:
            yield self._done.popleft()

    def end(self, seconds: float) -> bool:
        """Wait so long for what was asked for; tell whether all of it is done."""
        self._asked.put_nowait(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            whose, deed = asked
            self._done.append((whose, deed()))
            self._on_done()
