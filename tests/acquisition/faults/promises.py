"""What the writer of a run says to be committed, kept where no fault of its storage reaches it."""

import json
import os
import select
import time
from pathlib import Path
from typing import Any, Self


class Promises:
    """What was promised, on the side of the writer; a line is there when it is told."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    def tell(self, **what: Any) -> None:
        """Promise something."""
        os.write(self._descriptor, json.dumps(what).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_promises(path: Path) -> list[dict[str, Any]]:
    """Return what was promised, in order; a line that was cut off is no promise."""
    *lines, _ = path.read_text().split("\n") if path.exists() else [""]
    return [json.loads(line) for line in lines]


def promised_frames(path: Path) -> int:
    """Return the number of frames that were promised to be committed."""
    return max((each.get("committed", 0) for each in read_promises(path)), default=0)


class PromiseReader:
    """Follows a writer's promises through a pipe with a name.

    Parameters
    ----------
    path
        Name of the pipe, which is made.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # So that it has a writer from the beginning, and no read says that it has ended.
        self._kept_open = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._unread = b""
        self.all: list[dict[str, Any]] = []
        """What has been read."""

    @property
    def frames(self) -> int:
        """Number of frames that were promised to be committed."""
        return max((each.get("committed", 0) for each in self.all), default=0)

    def wait_for(self, at_least: int = 0, *, seconds: float = 60.0, **what: Any) -> None:
        """Wait until so many frames are promised, and a line says all of `what`."""
        deadline = time.monotonic() + seconds
        while self.frames < at_least or not self._said(what):
            assert not self._failed(), f"{self.all[-1]} instead of {at_least} frames and {what}"
            left = deadline - time.monotonic()
            assert left > 0, f"{self.all[-3:]} for {seconds:g} s, not {at_least} frames and {what}"
            select.select([self._descriptor], [], [], left)
            self.read()

    def _said(self, what: dict[str, Any]) -> bool:
        return not what or any(what.items() <= each.items() for each in self.all)

    def _failed(self) -> bool:
        return any("failed" in each for each in self.all)

    def read(self) -> None:
        """Take in what is there."""
        try:
            while text := os.read(self._descriptor, 65_536):
                *lines, self._unread = (self._unread + text).split(b"\n")
                self.all += [json.loads(line) for line in lines]
        except BlockingIOError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._kept_open)
        os.close(self._descriptor)
