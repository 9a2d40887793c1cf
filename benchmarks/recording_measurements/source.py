"""A camera whose pictures are in memory already."""

from typing import Any

import numpy.typing as npt

from forebay.acquisition import Geometry, ImageMetadata
from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.sources.paced import Exposure, PacedSource


class PreparedSource(PacedSource):
    """Delivers the same pictures again and again.

    Parameters
    ----------
    pictures
        The pictures, along the first axis.
    count
        Frames to deliver; None for no end.
    rate
        Frames per second; None for as fast as they are taken.
    can_wait
        Whether it may be held up; as its rate says if not given.
    clock
        Source of times.
    """

    def __init__(
        self,
        pictures: npt.NDArray[Any],
        *,
        count: int | None,
        rate: float | None = None,
        can_wait: bool | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(rate=rate, frames=count, clock=clock)
        self._pictures = pictures
        self._may_wait = super().can_wait if can_wait is None else can_wait
        self._began = 0.0
        self.delivered = 0
        """Frames that were asked for."""
        self.late = 0.0
        """How long after it was due the last frame was asked for, in seconds."""

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame."""
        return Geometry(("y", "x"), self._pictures.shape[1:], self._pictures.dtype)

    @property
    def metadata(self) -> ImageMetadata:
        """The rate."""
        return ImageMetadata(frame_rate=self._rate)

    @property
    def expected_frames(self) -> None:
        """Not told: what a long measurement records is removed on its way, and fits the disk."""

    @property
    def can_wait(self) -> bool:
        """Whether it may be held up."""
        return self._may_wait

    def _expose(self, counter: int) -> Exposure:
        return Exposure(self._pictures[counter % len(self._pictures)])

    def _delivering(self, counter: int) -> None:
        now = self._clock.monotonic()
        self._began = self._began or now
        self.late = now - self._began - counter / self._rate if self._rate else 0.0
        self.delivered = counter + 1
