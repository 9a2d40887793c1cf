"""The storage that a run and its result lie on: whether it works, and when to look again."""

import contextlib
import errno
import math
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

from forebay.acquisition import durable, open_run
from forebay.acquisition.errors import RunDamagedError
from forebay.engine.queue.submission import Target
from forebay.engine.results.folder import ResultFolder
from forebay.errors import ForebayError
from forebay.tiering import open_store

_OUT_OF_ORDER = frozenset(
    {
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EIO,
        errno.ENODEV,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.ENXIO,
        errno.EREMOTEIO,
        errno.EROFS,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""What is said of storage that nobody can use; a missing permission, say, mends by itself never."""
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_LEAST_BYTES = 2**20


class Storage:
    """Where a run and its result lie.

    When something could not be read or written, this tells a unit that has bad luck from storage
    that is full, read-only or gone: by reading the run's log, and by writing as much as a part
    needs, and flushing it.

    Parameters
    ----------
    location
        The run's path or URL.
    folder
        Where parts of the result are made.
    patience
        Seconds after which storage that is out of order is not waited for any longer.
    monotonic
        Source of durations, in seconds.
    """

    def __init__(
        self,
        location: str,
        folder: Path,
        *,
        patience: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience
        self._monotonic = monotonic
        self._since: float | None = None
        self._location = location
        self._folder = folder
        self._bytes = _LEAST_BYTES
        self._pause = 0.0
        self._until = -math.inf
        self._written = False

    @classmethod
    def of(cls, target: Target, *, patience: float) -> Self:
        """Return the storage of what is wanted."""
        folder = ResultFolder(Path(target.folder)).staging
        return cls(target.location, folder, patience=patience)

    @property
    def works(self) -> bool:
        """Whether nothing was wrong with it when it was last looked at."""
        return self._since is None

    @property
    def pausing(self) -> bool:
        """Whether it is not yet time to look at it again."""
        return self._monotonic() < self._until

    def to_wait_for(self) -> str | None:
        """Return what is wrong with it; None if it works, or was waited for long enough."""
        problem = self._problem()
        if problem is None:
            self._since = None
            return None
        now = self._monotonic()
        self._since = now if self._since is None else self._since
        return problem if now - self._since <= self._patience else None

    def _problem(self) -> str | None:
        if self._written and not self._folder.is_dir():
            # Made anew, it would lie on the disk below the one that is missing.
            return f"the folder {self._folder} is gone"
        probe = self._folder / f"probe-{uuid.uuid4().hex[:8]}"
        try:
            durable.make_folders(self._folder)
            try:
                durable.write_aside(probe, [bytes(self._bytes)])
            finally:
                with contextlib.suppress(FileNotFoundError):
                    probe.unlink()
        except OSError as error:
            if _number(error) in _OUT_OF_ORDER:
                return f"{self._folder} cannot be written: {error.strerror or error}"
            return None
        if "://" not in self._location and not Path(self._location).parent.is_dir():
            return f"the folder of the run {self._location} is gone"
        try:
            open_run(open_store(self._location))
        except ForebayError as error:
            return str(error) if self._is_out(error) else None
        except OSError as error:
            return f"{self._location} cannot be read: {error}" if self._is_out(error) else None
        return None

    def _is_out(self, error: Exception) -> bool:
        """Tell whether an error is of the storage, and not of this one run."""
        if isinstance(error, FileNotFoundError | RunDamagedError):
            return False
        if "://" in self._location:
            return isinstance(error, OSError)
        return _number(error) in _OUT_OF_ORDER

    def next_pause(self) -> float:
        """Return the seconds until it is worth another try: longer each time in a row."""
        self._pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * self._pause))
        self._until = self._monotonic() + self._pause
        return self._pause

    def worked(self, size: int) -> None:
        """Take in that a part of so many bytes was written."""
        self._bytes = max(self._bytes, size)
        self._written = True
        self._pause, self._until = 0.0, -math.inf
        self._since = None


def _number(error: BaseException | None) -> int | None:
    """Return the system's number of an error, or of what has caused it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__
    return None
