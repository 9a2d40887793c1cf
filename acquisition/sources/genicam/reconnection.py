"""Waiting for a camera that was lost."""

import threading
from collections.abc import Callable

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam.connection import Connection
from forebay.acquisition.sources.genicam.library import AravisError

_RETRY_SECONDS = 0.2


class Reconnection:
    """Opens a camera again, in a thread of its own, for what it calls may take seconds.

    Parameters
    ----------
    lost
        The connection that was lost; it is closed.
    open_anew
        Connects to the camera, and lets it send.
    patience
        Longest time to wait for it, in seconds.
    stopped
        Ends the wait when it is set and `wake` is called.
    clock
        Source of times.
    """

    def __init__(
        self,
        lost: Connection,
        open_anew: Callable[[], Connection],
        *,
        patience: float,
        stopped: threading.Event,
        clock: Clock,
    ) -> None:
        self._lost = lost
        self._open_anew = open_anew
        self._patience = patience
        self._deadline = clock.monotonic() + patience
        self._stopped = stopped
        self._clock = clock
        self._changed = threading.Event()
        self._given_up = threading.Event()
        self._done = False
        self._connection: Connection | None = None
        self._failure: Exception | None = None
        self._reason = "it did not answer"
        # A daemon, so that a camera that does not answer does not keep the process.
        self._thread = threading.Thread(target=self._run, name="forebay-reconnect", daemon=True)
        self._thread.start()

    def wait(self) -> Connection | None:
        """Wait for the camera; None if it was stopped before it came.

        Raises
        ------
        SourceError
            If it did not come back in time, or cannot be used as before.
        """
        self._changed.wait(max(0.0, self._deadline - self._clock.monotonic()))
        if self._stopped.is_set():
            return None
        if not self._done:
            raise SourceError(
                f"it has not come back within {self._patience:g} s ({self._reason}); look after "
                "its power and its cable, or give it more patience"
            )
        if self._failure is not None:
            raise self._failure
        connection, self._connection = self._connection, None
        return connection

    def wake(self) -> None:
        """Make `wait` look whether it is stopped."""
        self._changed.set()

    def end(self) -> None:
        """Give it up and wait for the thread; takes some seconds where the camera is gone."""
        self._given_up.set()
        self._changed.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        try:
            self._lost.close(answers=False)
            self._connection = self._connect()
            self._done = self._connection is not None
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for)
            self._failure, self._done = error, True
        finally:
            self._changed.set()

    def _connect(self) -> Connection | None:
        """Try until it goes right; None if it is given up or takes too long."""
        while not self._given_up.is_set() and self._clock.monotonic() < self._deadline:
            try:
                return self._open_anew()
            except AravisError as error:
                self._reason = str(error)
            again = self._clock.monotonic() + _RETRY_SECONDS
            self._clock.wait_until(again, self._given_up)
        return None
