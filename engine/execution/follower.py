"""Watching a run for a job that goes on while the run grows."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from forebay.acquisition import Run, follow

_JOIN_SECONDS = 10.0

_log = logging.getLogger("forebay.engine")


class RunFollower:
    """Watches a run from a thread of its own, and keeps the latest state of it."""

    def __init__(self, run: Run, *, wake: Callable[[], None]) -> None:
        """Prepare to watch `run`; `wake` is called when `latest` has something to say."""
        self._run = run
        self._stop = threading.Event()
        self._wake = wake
        self._latest: Run | None = None
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        # A read that hangs, as on a network that is gone, must not keep the process from ending.
        self._thread = threading.Thread(target=self._watch, name="forebay-follower", daemon=True)

    def latest(self) -> Run | None:
        """Return the run if it has grown since it was last asked for.

        Raises
        ------
        ForebayError
            If the run could not be read.
        """
        with self._lock:
            latest, self._latest = self._latest, None
            failure = self._failure
        if failure is not None:
            raise failure
        return latest

    def _watch(self) -> None:
        try:
            for run in follow(self._run, stop=self._stop):
                with self._lock:
                    known, self._latest = self._latest, run
                if known is None:
                    self._wake()
        except BaseException as failure:  # noqa: BLE001 (raised again by `latest`)
            with self._lock:
                self._failure = failure
            self._wake()

    def __enter__(self) -> Self:
        """Watch within the block."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            _log.warning(
                "the follower of %s hangs in a read and is left behind", self._run.location
            )
