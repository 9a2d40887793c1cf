"""What came over the network and was not taken: counted by kind, and said, not too often."""

import logging
from collections import Counter
from enum import StrEnum

from forebay.acquisition.clock import Clock

_QUIET_SECONDS = 10.0

_log = logging.getLogger("forebay.acquisition")


class Refusal(StrEnum):
    """Why something was not taken."""

    PARTS = "parts"
    """The message has too few or too many parts."""
    HEADER = "header"
    """The header is not what the reference page says."""
    SIZE = "size"
    """Frames are larger than the receiver takes."""
    PIXELS = "pixels"
    """The pixels are not as many bytes as the header says."""
    CHECKSUM = "checksum"
    """The pixels changed on their way."""
    STREAM = "stream"
    """The message belongs to a stream that is over, or that never began."""
    CONNECTION = "connection"
    """Somebody connected and was turned away."""


class MessageError(ValueError):
    """One message cannot be taken; the ones after it may."""

    def __init__(self, kind: Refusal, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Refusals:
    """Counts everything, and says of each kind the first and then one in ten seconds.

    Parameters
    ----------
    where
        The endpoint, for the messages.
    clock
        Source of times.
    """

    def __init__(self, where: str, clock: Clock) -> None:
        self._where = where
        self._clock = clock
        self._counts: Counter[Refusal] = Counter()
        self._unsaid: Counter[Refusal] = Counter()
        self._quiet_until: dict[Refusal, float] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many there were of each kind that there was."""
        return {str(kind): count for kind, count in self._counts.items()}

    def add(self, kind: Refusal, text: str) -> None:
        """Count one, and say it if none of its kind was said lately."""
        self._counts[kind] += 1
        now = self._clock.monotonic()
        if now < self._quiet_until.get(kind, now):
            self._unsaid[kind] += 1
            return
        self._quiet_until[kind] = now + _QUIET_SECONDS
        before = self._unsaid.pop(kind, 0)
        also = f" (and {before} more of this kind before it)" if before else ""
        _log.warning("not taken at %s: %s%s", self._where, text, also)

    def close(self) -> None:
        """Say how many were not said."""
        for kind, count in self._unsaid.items():
            _log.warning("not taken at %s: %d more of the kind '%s'", self._where, count, kind)
        self._unsaid.clear()
