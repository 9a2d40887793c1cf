"""What a recording that is replayed and a simulated camera have in common: their pace."""

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy.typing as npt

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Frame, FrameFlag
from forebay.acquisition.sources.parameters import real, whole

_NANOSECONDS = 1_000_000_000
_RATES = (1e-6, 1e9)
_MOST_FRAMES = 2**62


class Exposure(NamedTuple):
    """What the sensor saw."""

    data: npt.NDArray[Any]
    """The pixels."""
    flags: FrameFlag = FrameFlag(0)
    """What is unusual about them."""


class PacedSource(ABC):
    """Numbers exposures from 0 and delivers each when it is due.

    With a rate it is a free-running camera: exposure k is due k/rate seconds after the first, no
    matter how late the ones before it were, and its timestamp is the wall time at which it was
    due.  A frame that is late is delivered at once.  Without a rate frames come as fast as they
    are asked for, stamped with the wall time.  Timestamps always grow.

    Parameters
    ----------
    rate
        Exposures per second; None for no pace.
    frames
        Exposures to make; None for no limit.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If `rate` or `frames` is not a number above 0, or is beyond all reason.
    """

    def __init__(self, *, rate: float | None, frames: int | None, clock: Clock) -> None:
        self._rate = None if rate is None else real("rate", rate, *_RATES)
        self._limit = None if frames is None else whole("frames", frames, 1, _MOST_FRAMES)
        self._clock = clock
        self._stopped = threading.Event()
        self._begun = self._closed = False
        # Held while an exposure is made, so that nothing is freed under it.
        self._busy = threading.Lock()

    @property
    def can_wait(self) -> bool:
        """Whether the source may be held up: it may where no rate is given."""
        return self._rate is None

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames in the order of their counters; once only.

        Raises
        ------
        SourceError
            If the frames were asked for before, or the source is closed.  While iterating: if a
            frame cannot be had; all frames before it have been delivered.
        """
        if self._begun or self._closed:
            state = "is closed" if self._closed else "has delivered its frames already"
            raise SourceError(f"the source {state}; open it anew")
        self._begun = True
        return self._deliver()

    @property
    def expected_frames(self) -> int | None:
        """The most frames that it will deliver; None where it goes on until it is stopped."""
        return self._limit

    def stop(self) -> None:
        """Make `frames` end after the frame that it is at; may be called from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and free what the source holds; may be called twice."""
        self.stop()
        with self._busy:
            if not self._closed:
                self._closed = True
                self._free()

    def __enter__(self) -> Self:
        """Use the source within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and free what the source holds."""
        self.close()

    @abstractmethod
    def _expose(self, counter: int) -> Exposure | None:
        """Make an exposure; None for one that the camera counts and does not deliver."""

    def _prepare(self) -> None:  # noqa: B027 (a source may have nothing to prepare)
        """Do what must not hold up the first frames."""

    def _free(self) -> None:  # noqa: B027 (a source may have nothing to free)
        """Free what the source holds."""

    def _deliver(self) -> Iterator[Frame]:
        self._prepare()
        start: tuple[float, int] | None = None
        latest = -1
        counters = itertools.count() if self._limit is None else range(self._limit)
        for counter in counters:
            with self._busy:
                if self._stopped.is_set():
                    return
                exposure = self._expose(counter)
            if exposure is None:
                continue
            timestamp = self._clock.time_ns()
            if self._rate is not None:
                start = start or (self._clock.monotonic(), timestamp)
                if not self._clock.wait_until(start[0] + counter / self._rate, self._stopped):
                    return
                timestamp = start[1] + round(counter * _NANOSECONDS / self._rate)
            latest = max(timestamp, latest + 1)
            self._delivering(counter)
            yield Frame(counter, latest, exposure.data, exposure.flags)

    def _delivering(self, counter: int) -> None:  # noqa: B027 (most sources need not know)
        """Take note that a frame is handed over next."""
