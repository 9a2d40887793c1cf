"""The acquisition service of the demonstration, in a process of its own."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from forebay.cli.errors import DemonstrationError

_END_SECONDS = 30.0
_WAKE_SECONDS = 0.2


class Recording:
    """``forebay acquire`` as a child process, out of the reach of the terminal's Ctrl-C.

    Leaving the ``with`` block ends it in order: what has come is committed and the run closed.

    Parameters
    ----------
    arguments
        What follows ``forebay acquire``.
    on_status
        Called, from a thread of this object, with each status that it reports.
    """

    def __init__(
        self, arguments: Sequence[str], *, on_status: Callable[[dict[str, Any]], None]
    ) -> None:
        """Start the process."""
        self._on_status = on_status
        self._begun = threading.Event()
        self._last: dict[str, Any] = {}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed on leaving)
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "forebay", "acquire", "--json", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="forebay-recording")
        self._reader.start()

    def wait_until_begun(self, stop: threading.Event, *, timeout: float) -> bool:
        """Wait for the run to be there; False if `stop` was set before it was.

        Raises
        ------
        DemonstrationError
            If the process ends, or takes longer than `timeout` seconds, before it begins.
        """
        waited = 0.0
        while not self._begun.wait(_WAKE_SECONDS):
            waited += _WAKE_SECONDS
            if stop.is_set():
                return False
            if waited > timeout:
                raise DemonstrationError(f"the recording did not begin within {timeout:g} s")
        if self._last:
            return True
        # A Ctrl-C may meet the process before it is out of the terminal's reach.
        if not stop.is_set():
            self._check(self._process.wait(_END_SECONDS))
        return False

    def finish(self) -> dict[str, Any]:
        """Wait for the recording to end, and return its last status.

        Raises
        ------
        DemonstrationError
            If it has failed.
        """
        self._check(self._process.wait(_END_SECONDS))
        self._reader.join(_END_SECONDS)
        return self._last

    def __enter__(self) -> Self:
        """Record within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._reader.join(_END_SECONDS)
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._errors.close()

    def _read(self) -> None:
        lines = self._process.stdout
        if lines is not None:
            for line in lines:
                self._last = json.loads(line)
                self._begun.set()
                self._on_status(self._last)
        self._begun.set()

    def _check(self, code: int) -> None:
        if code != 0:
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines() or [f"it ended with code {code}"]
            message = lines[-1].removeprefix("forebay: error: ")
            raise DemonstrationError(f"the recording failed: {message}")
