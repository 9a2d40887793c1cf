"""Which recordings to one disk come first while it is too slow for all of them."""

import fcntl
import os
from pathlib import Path
from typing import Self

from forebay.acquisition.control.folder import SocketFolder
from forebay.acquisition.run.lock import is_locked, part_of_file
from forebay.acquisition.service.flow import HIGHEST_PRIORITY


class Precedence:
    """The place of a recording among those of this user, on this machine, to one file system.

    One that is short of the disk says so, and those of lower priority see it and give way.  It is
    a lock on one byte of a file that they share, at the place of its priority: nothing is written,
    and the system takes it back however the recording ends.

    Parameters
    ----------
    path
        A folder on the file system.
    priority
        0 to `HIGHEST_PRIORITY`.

    Raises
    ------
    ControlError
        If the file cannot be made.

    Examples
    --------
    >>> with Precedence(Path("."), priority=2) as first, Precedence(Path("."), priority=1) as later:
    ...     first.say(short=True)
    ...     (first.gives_way, later.gives_way)
    (False, True)
    """

    def __init__(self, path: Path, *, priority: int) -> None:
        self._priority = priority
        self._short = False
        with SocketFolder.make() as folder:
            self._descriptor = folder.open(f"disk-{path.stat().st_dev}.order")

    def say(self, *, short: bool) -> None:
        """Say whether this recording is short of the disk; costs nothing where that is known."""
        if short != self._short:
            kind = fcntl.F_RDLCK if short else fcntl.F_UNLCK
            asked = part_of_file(kind, self._priority, 1)
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, asked)
            self._short = short

    @property
    def gives_way(self) -> bool:
        """Whether a recording of higher priority is short of the disk."""
        above = HIGHEST_PRIORITY - self._priority
        return above > 0 and is_locked(self._descriptor, self._priority + 1, above)

    def __enter__(self) -> Self:
        """Use it within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Say nothing any more."""
        os.close(self._descriptor)
