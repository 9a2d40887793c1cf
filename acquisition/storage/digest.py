"""The digest of a file, computed beside the writing of it."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from blake3 import blake3

_WORTH_A_THREAD = 2**20
"""Bytes from which on it costs less to hand them to another thread than to wait for the digest."""


class DigestBeside:
    """A BLAKE3 digest that a thread computes while its owner writes the same bytes.

    Examples
    --------
    >>> digest = DigestBeside()
    >>> digest.begin([memoryview(b"frames")])
    >>> digest.end()
    >>> digest.finish()[:16]
    'b70dfb06f5b61231'
    """

    def __init__(self) -> None:
        self._digest = blake3()
        self._threads: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def begin(self, views: Sequence[memoryview]) -> None:
        """Take bytes in; those must stay as they are until `end` returns."""
        if sum(view.nbytes for view in views) < _WORTH_A_THREAD:
            self._update(views)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, thread_name_prefix="forebay-digest")
        self._running = self._threads.submit(self._update, views)

    def end(self) -> None:
        """Wait until the bytes that were taken in last are part of the digest."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def finish(self) -> str:
        """Join the thread; return the digest in hexadecimal digits."""
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Join the thread; may be called twice."""
        self.end()
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def _update(self, views: Sequence[memoryview]) -> None:
        for view in views:
            self._digest.update(view)
