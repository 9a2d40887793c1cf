"""What waits for the storage beside the frames: notes of what is unusual, and the room that is left."""

import contextlib
import logging
import threading
from collections.abc import Callable

from forebay.acquisition.errors import StorageError
from forebay.acquisition.intake import AnomalyKind
from forebay.acquisition.service.receiving import Receiving
from forebay.acquisition.storage.storage import RunStorage

_LOOK_SECONDS = 0.1

_log = logging.getLogger("forebay.acquisition")


class StorageWatch:
    """Writes down what is unusual about the source, and looks how much room the storage has.

    It does so in a thread of its own: where the storage hangs so does that thread, and not the one
    that passes a stop on to the source.

    Parameters
    ----------
    storage
        Where the run lies.
    receiving
        What notices the unusual.
    note
        Writes a topic and a text down in the run.
    """

    def __init__(
        self, storage: RunStorage, receiving: Receiving, note: Callable[[str, str], None]
    ) -> None:
        self._storage = storage
        self._receiving = receiving
        self._note = note
        self._over = threading.Event()
        self.free_bytes = storage.free_bytes()
        """Room on the storage at the last look; None where it is not known."""
        # A daemon, so that a storage that never comes back does not keep the process.
        self._thread = threading.Thread(target=self._watch, name="forebay-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Write down what is left, which is only kept while the run still takes notes.

        May be called again, for what has come since.
        """
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._look(everything=True)

    def _watch(self) -> None:
        """Look again and again; runs in its own thread."""
        while not self._over.wait(_LOOK_SECONDS):
            self._look(everything=False)

    def _look(self, *, everything: bool) -> None:
        self.free_bytes = self._storage.free_bytes()
        for anomaly in self._receiving.take_anomalies(everything=everything):
            more = f" (and {anomaly.more} more)" if anomaly.more else ""
            _log.warning("%s: %s%s", anomaly.kind, anomaly.text, more)
            if anomaly.kind is not AnomalyKind.COUNTER_GAP:
                # Gaps are in the run's own accounts.
                with contextlib.suppress(StorageError):
                    self._note(anomaly.kind.value, f"{anomaly.text}{more}")
