"""What was logged lately in a process, for the story of what failed in it."""

import logging
from collections import deque
from typing import Self

_MOST_LINES = 100


class RecentLog(logging.Handler):
    """Keeps the last lines that are logged within a ``with`` block, by whichever thread.

    Examples
    --------
    >>> with RecentLog() as recent:
    ...     logging.getLogger("camera").warning("the shutter is slow")
    >>> recent.text()
    'WARNING camera: the shutter is slow'
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    def text(self) -> str | None:
        """Return the lines, or None if there are none."""
        return "\n".join(self._lines) or None

    def __enter__(self) -> Self:
        """Listen to everything that is logged."""
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        logging.getLogger().removeHandler(self)
