"""What happens to frames when whatever comes behind is slower than the camera."""

from enum import StrEnum
from typing import Literal, Protocol

from forebay.acquisition.clock import Clock
from forebay.acquisition.frames import Frame
from forebay.acquisition.ring.ring import FrameRing

type OverloadPolicy = Literal["block", "spill", "reduce", "drop-oldest", "drop-newest", "decimate"]
"""What to do when frames come faster than they can be recorded."""

HIGHEST_PRIORITY = 99
"""That of recordings for which all others to the same disk give way."""

RING_FULL = "the recorder was slower than the camera and the ring was full"
OVERTAKEN = "the recorder was slower than the camera and later frames were preferred"
DECIMATED = "the recorder was slower than the camera and only one frame of {every} was kept"

_DROPPING_SECONDS = 1.0
"""Time after a frame was dropped for which the flow is said to be dropping."""
_STALLED_SECONDS = 10.0
"""Time for which nothing goes on behind the ring, though frames wait, until that is said."""
_STEP_SECONDS = 1.0
"""Most time that counts from one look to the next; this process may have been stopped."""


class FlowState(StrEnum):
    """How frames get through."""

    NORMAL = "normal"
    """All of them, at once."""
    HOLDING = "holding"
    """The source is held up."""
    SPILLING = "spilling"
    """By way of the second path."""
    REDUCING = "reducing"
    """With the reductions that are declared for times of overload."""
    GIVING_WAY = "giving way"
    """Only into the ring, while another recording to the same disk comes first."""
    DROPPING = "dropping"
    """Not all of them; those that are lost are written down."""
    STORAGE_STALLED = "storage stalled"
    """Only into the ring: for long no full block was committed, or no frame taken from the ring."""
    WAITING_FOR_SPACE = "waiting for space"
    """The storage is full."""
    WAITING_FOR_STORAGE = "waiting for the storage"
    """The storage does not answer."""

    @property
    def is_waiting(self) -> bool:
        """Whether nothing can be recorded until the storage takes it again."""
        return self in {FlowState.WAITING_FOR_SPACE, FlowState.WAITING_FOR_STORAGE}


class Watermarks:
    """Tells whether something is too full: from the high mark on, until it is below the low one.

    Parameters
    ----------
    high, low
        Fractions, ``0 < low <= high <= 1``.

    Examples
    --------
    >>> marks = Watermarks(high=0.8, low=0.5)
    >>> [marks.above(fill) for fill in (0.7, 0.8, 0.6, 0.5, 0.7)]
    [False, True, True, False, False]
    """

    def __init__(self, *, high: float, low: float) -> None:
        self._high = high
        self._low = low
        self._above = False

    def above(self, fill: float) -> bool:
        """Tell whether it is too full, where it is full to the fraction `fill`."""
        self._above = fill > self._low if self._above else fill >= self._high
        return self._above


class RingLevel:
    """How full a ring is with frames that wait, as a fraction of the room that they have.

    Parameters
    ----------
    ring
        The ring.
    in_flight
        Slots that the blocks in flight need.
    marks
        The watermarks.
    """

    def __init__(self, ring: FrameRing, *, in_flight: int, marks: Watermarks) -> None:
        self._ring = ring
        self._room = max(1, ring.slots - in_flight)
        self._marks = marks

    @property
    def fill(self) -> float:
        """The fraction."""
        return min(1.0, self._ring.waiting / self._room)

    def too_full(self) -> bool:
        """Whether it is above its marks."""
        return self._marks.above(self.fill)


class Gate(Protocol):
    """Brings frames into the ring, or writes them down as lost; used by the receiving thread."""

    def place(self, ring: FrameRing, frame: Frame) -> None:
        """Bring a frame in."""


class Holding:
    """Holds the source up until there is room."""

    def place(self, ring: FrameRing, frame: Frame) -> None:
        """Bring a frame in, when there is room; nothing is done once the ring is finished."""
        ring.put(frame, wait=True)


class DroppingNewest:
    """Loses a frame that finds no room."""

    def place(self, ring: FrameRing, frame: Frame) -> None:
        """Bring a frame in."""
        if not ring.put(frame, wait=False) and not ring.finished:
            ring.lose(frame.counter, frame.counter, reason=RING_FULL)


class DroppingOldest:
    """Loses the frame that has waited longest."""

    def place(self, ring: FrameRing, frame: Frame) -> None:
        """Bring a frame in."""
        slot = ring.reserve(wait=False)
        if slot is None and not ring.finished:
            slot = ring.reserve_oldest(reason=OVERTAKEN)
        if slot is not None:
            ring.fill(slot, frame)
        elif not ring.finished:
            ring.lose(frame.counter, frame.counter, reason=RING_FULL)


class Decimating:
    """Keeps every so-many-th frame while the ring is too full.

    Parameters
    ----------
    level
        How full the ring is.
    every
        Which frames are kept: those whose counter is divisible by it.
    """

    def __init__(self, level: RingLevel, *, every: int) -> None:
        self._level = level
        self._every = every
        self._reason = DECIMATED.format(every=every)

    def place(self, ring: FrameRing, frame: Frame) -> None:
        """Bring a frame in."""
        if self._level.too_full() and frame.counter % self._every:
            full = ring.depth == ring.slots
            reason = RING_FULL if full else self._reason
            ring.lose(frame.counter, frame.counter, reason=reason)
        elif not ring.put(frame, wait=False) and not ring.finished:
            ring.lose(frame.counter, frame.counter, reason=RING_FULL)


class DropWatch:
    """Tells whether frames are being dropped, from how many were.

    Parameters
    ----------
    clock
        Source of times.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = 0
        self._until = -1.0

    def dropping(self, dropped: int) -> bool:
        """Tell it, where so many frames are dropped by now."""
        now = self._clock.monotonic()
        if dropped > self._seen:
            self._seen, self._until = dropped, now + _DROPPING_SECONDS
        return now < self._until


class StallWatch:
    """Tells whether something that waits does not go on.

    Parameters
    ----------
    clock
        Source of times.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._progress: int | None = None
        self._looked = clock.monotonic()
        self._waited = 0.0

    def stalled(self, progress: int | None, *, waiting: bool) -> bool:
        """Tell it, where it has come so far by now, and has more to do or not."""
        now = self._clock.monotonic()
        step, self._looked = min(now - self._looked, _STEP_SECONDS), now
        goes_on = progress != self._progress or not waiting
        self._waited = 0.0 if goes_on else self._waited + step
        self._progress = progress
        return self._waited >= _STALLED_SECONDS
