"""The heartbeat of a service, from a thread of its own."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from forebay.engine.errors import LeaseLostError, LedgerError
from forebay.engine.queue.leases import Service

_JOIN_SECONDS = 10.0

_log = logging.getLogger("forebay.engine")


class Heartbeat:
    """Keeps a service's lease while its other threads work or wait.

    Parameters
    ----------
    service
        The service.
    every
        Seconds between two beats; a third of the lease leaves room for two that fail.
    wake
        Called when the lease is lost.
    """

    def __init__(self, service: Service, *, every: float, wake: Callable[[], None]) -> None:
        self._service = service
        self._every = every
        self._wake = wake
        self._stop = threading.Event()
        self.lost: LeaseLostError | None = None
        """Why the lease is lost, if it is."""
        # A database that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="forebay-heartbeat", daemon=True)

    def check(self) -> None:
        """Raise if the lease is lost.

        Raises
        ------
        LeaseLostError
            If it is.
        """
        if self.lost is not None:
            raise self.lost

    def beat(self) -> None:
        """Beat now.

        Raises
        ------
        LeaseLostError
            If the lease is lost.
        """
        self._service.beat()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._service.beat()
            except LeaseLostError as lost:
                self.lost = lost
                self._wake()
                return
            except LedgerError as error:
                # The next beat may get through in time; if not, it finds the lease lost.
                _log.warning("the heartbeat did not get through: %s", error)

    def __enter__(self) -> Self:
        """Beat within the block."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)
