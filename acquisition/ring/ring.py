"""A bounded ring of frames: slots that go round between a source and the recorder."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.frames import Frame, Geometry
from forebay.acquisition.memory.slots import FrameRoom, FrameSlots

_MOST_SLOTS = 2**16

NOT_IN_RING = -1
"""The slot of a frame that lies elsewhere."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame in the ring: its header, and the slot in which its pixels lie."""

    slot: int
    """The slot; it is the taker's until it is given back with `FrameRing.free`."""
    counter: int
    """The camera's counter."""
    timestamp: int
    """The camera's time, in nanoseconds since 1970-01-01 UTC."""
    flags: int
    """What is unusual about the frame."""
    at: float
    """When it came, on the host's monotonic clock, in seconds."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Frames that came, or are known to have been taken, and that the ring does not hold."""

    first: int
    """Counter of the first one."""
    last: int
    """Counter of the last one."""
    reason: str
    """Why."""
    at: int
    """When the first one was lost, in nanoseconds since 1970-01-01 UTC."""


type Item = Arrived | Lost


def slots_in(geometry: Geometry, *, capacity_bytes: int) -> int:
    """Return how many frames a ring of so many bytes holds."""
    return min(_MOST_SLOTS, capacity_bytes // geometry.frame_bytes)


class FrameRing:
    """Frames in memory that was taken beforehand; a frame is copied into its slot once.

    A slot is free, then reserved by the one thread that puts, then filled, then taken by the one
    thread that takes, and free again when that has been said by whoever is done with it.  Items
    come out in the order in which they were put; lost frames stand among them in their place.

    Parameters
    ----------
    geometry
        The layout of a frame.
    slots
        Frames that the ring holds.
    clock
        Source of times.
    shared
        Whether another process writes into the slots.
    expected
        Frames that will come in all, where that is known: the ring takes no memory for more.

    Raises
    ------
    SourceError
        If there is not so much memory.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        slots: int,
        clock: Clock = SYSTEM_CLOCK,
        shared: bool = False,
        expected: int | None = None,
    ) -> None:
        self.memory = FrameSlots(geometry, slots, shared=shared, expected=expected)
        """The slots."""
        self._clock = clock
        self._free = deque(range(slots))
        self._items: deque[Item] = deque()
        self._waiting = self._lost_waiting = 0
        self._changed = threading.Condition()
        self._finished = False
        self.highest = 0
        """The most frames that were in use at a time."""
        self.latest = clock.monotonic()
        """When the last frame came, on the monotonic clock."""

    @property
    def slots(self) -> int:
        """Frames that the ring holds."""
        return self.memory.count

    @property
    def depth(self) -> int:
        """Slots in use: frames that wait, and those that the recorder still needs."""
        return self.slots - len(self._free)

    @property
    def waiting(self) -> int:
        """Frames that wait to be taken."""
        return self._waiting

    @property
    def lost_waiting(self) -> int:
        """Lost frames that wait to be written down."""
        return self._lost_waiting

    def __getitem__(self, slot: int) -> FrameRoom:
        """Return the memory of a slot."""
        return self.memory[slot]

    def reserve(self, *, wait: bool) -> int | None:
        """Take a free slot to be filled; None if there is none, or the ring is finished.

        Parameters
        ----------
        wait
            Whether to wait for one.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._free or self._finished)
            if not self._free or self._finished:
                return None
            slot = self._free.popleft()
            self.highest = max(self.highest, self.depth)
            return slot

    def reserve_oldest(self, *, reason: str) -> int | None:
        """Take the slot of the frame that has waited longest, which is lost; None if none waits."""
        with self._changed:
            for place, item in enumerate(self._items):
                if isinstance(item, Arrived):
                    now = self._clock.time_ns()
                    self._items[place] = Lost(item.counter, item.counter, reason, now)
                    self._waiting -= 1
                    self._lost_waiting += 1
                    self._merge_around(place)
                    return item.slot
            return None

    def publish(self, slot: int, *, counter: int, timestamp: int, flags: int) -> None:
        """Put a reserved slot, which has been filled, behind the others."""
        now = self._clock.monotonic()
        with self._changed:
            self._items.append(Arrived(slot, counter, timestamp, flags, now))
            self._waiting += 1
            self.latest = now
            self._changed.notify_all()

    def put(self, frame: Frame, *, wait: bool) -> bool:
        """Copy a frame in; False if there is no room, or the ring is finished."""
        slot = self.reserve(wait=wait)
        if slot is None:
            return False
        self.fill(slot, frame)
        return True

    def fill(self, slot: int, frame: Frame) -> None:
        """Copy a frame into a reserved slot, and put it behind the others."""
        self.memory[slot].fill(frame.data)
        self.publish(slot, counter=frame.counter, timestamp=frame.timestamp, flags=int(frame.flags))

    def lose(self, first: int, last: int, *, reason: str) -> None:
        """Write down that frames came and have no place in the ring."""
        now = self._clock.time_ns()
        with self._changed:
            self._items.append(Lost(first, last, reason, now))
            self._lost_waiting += last - first + 1
            self._merge_around(len(self._items) - 1)
            self._changed.notify_all()

    def take(self, *, timeout: float | None = None) -> Item | None:
        """Wait for the next item; None at the end, or when `timeout` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._finished, timeout)
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Arrived):
                self._waiting -= 1
            else:
                self._lost_waiting -= item.last - item.first + 1
            return item

    def free(self, slots: Iterable[int]) -> None:
        """Give slots back that were taken."""
        with self._changed:
            self._free.extend(slots)
            self._changed.notify_all()

    def finish(self) -> None:
        """Take nothing any more; what is in the ring can still be taken out."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether the ring takes nothing any more."""
        return self._finished

    @property
    def ended(self) -> bool:
        """Whether the ring is finished, and empty."""
        return self._finished and not self._items

    def _merge_around(self, place: int) -> None:
        """Make one of lost frames that follow each other, so that their number is bounded."""
        for left in (place, place - 1):
            if not 0 <= left < len(self._items) - 1:
                continue
            one, other = self._items[left], self._items[left + 1]
            if (
                isinstance(one, Lost)
                and isinstance(other, Lost)
                and one.reason == other.reason
                and one.last + 1 == other.first
            ):
                self._items[left] = Lost(one.first, other.last, one.reason, one.at)
                del self._items[left + 1]
