"""The logs of workers, which stay when their cluster ends: which are of its last start, and for how long."""

import time
from pathlib import Path

_DAYS = 28
_MOST = 1000
_DAY_SECONDS = 86_400.0


def prune(folder: Path) -> None:
    """Remove the logs that nobody asks for any more: beyond a number, and after some weeks."""
    logs = _newest_last(folder)
    oldest = time.time() - _DAYS * _DAY_SECONDS
    for number, (written_at, log) in enumerate(reversed(logs), start=1):
        if number > _MOST or written_at < oldest:
            log.unlink(missing_ok=True)


def split(folder: Path, start: float) -> tuple[list[Path], list[Path]]:
    """Return the logs that were last written to before a start, and those since, oldest first."""
    logs = _newest_last(folder)
    return (
        [log for written_at, log in logs if written_at < start],
        [log for written_at, log in logs if written_at >= start],
    )


def _newest_last(folder: Path) -> list[tuple[float, Path]]:
    return sorted((log.stat().st_mtime, log) for log in folder.glob("*.log"))
