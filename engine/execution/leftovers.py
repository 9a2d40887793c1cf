"""What services that died have left in the folders of results."""

import logging
import threading
from pathlib import Path

from forebay.engine.errors import LedgerError
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.queue.ledger import Ledger
from forebay.engine.results.folder import ResultFolder

_LONGEST_SECONDS = 10.0
"""How long it is waited for when all else has ended."""

_log = logging.getLogger("forebay.engine")


class Leftovers:
    """Sweeps folders of results that nobody may work on any more, in a thread of its own.

    Whoever works on a result sweeps its folder first, so that this is for those that are done.
    There may be many, and storage that is slow.

    Parameters
    ----------
    database
        The ledger.
    service
        The one that buries the dead.
    """

    def __init__(self, database: Database, service: Service) -> None:
        self._database = database
        self._service = service
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def sweep(self) -> None:
        """Begin to sweep what those have left that were just buried, unless it does so still."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="forebay-sweep", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for the end, though not for ever."""
        if self._thread is not None:
            self._thread.join(_LONGEST_SECONDS)
        self._stop.set()

    def _run(self) -> None:
        try:
            while found := self._service.left_behind():
                for result, folder in found:
                    if self._stop.is_set():
                        return
                    self._sweep(result, ResultFolder(Path(folder)))
        except LedgerError as error:
            _log.warning("what the dead have left stays: %s", error)

    def _sweep(self, result: str, folder: ResultFolder) -> None:
        try:
            if any(folder.staging.iterdir()):
                folder.sweep(lambda: Ledger(self._database).parts(result))
        except OSError as error:
            _log.debug("%s is not swept: %s", folder.path, error)
