"""Where the slots come from that a producer is lent."""

import threading
from collections import deque
from collections.abc import Iterable

from forebay.acquisition.control.bell import Bell
from forebay.acquisition.ring.ring import FrameRing


class SlotSupply:
    """Slots that are there from the beginning.

    Parameters
    ----------
    slots
        The slots.
    """

    def __init__(self, slots: Iterable[int] = ()) -> None:
        self._kept = deque(slots)

    def take(self) -> int | None:
        """Return a slot; None if there is none now."""
        return self._kept.popleft() if self._kept else None

    def put_back(self, slots: Iterable[int]) -> None:
        """Keep slots that are not needed, to be taken again."""
        self._kept.extend(slots)


class RingSupply(SlotSupply):
    """Slots of a ring, each reserved as soon as it is free.

    Where none is free, a thread waits for one and rings.

    Parameters
    ----------
    ring
        The ring.
    bell
        Rung when there may be a slot again.
    """

    def __init__(self, ring: FrameRing, bell: Bell) -> None:
        super().__init__()
        self._ring = ring
        self._bell = bell
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="forebay-room", daemon=True)
        self._thread.start()

    def take(self) -> int | None:
        """Return a slot; None if there is none now."""
        slot = super().take()
        if slot is not None or self._asked.is_set():
            return slot
        slot = self._ring.reserve(wait=False)
        if slot is None:
            self._asked.set()
        return slot

    def close(self) -> None:
        """Finish the ring, and give back to it what was reserved and not used."""
        self._ring.finish()
        self._asked.set()
        self._thread.join()
        self._ring.free(self._kept)
        self._kept.clear()

    def _wait(self) -> None:
        """Wait for a slot whenever there was none; runs in its own thread."""
        while not self._ring.finished:
            self._asked.wait()
            slot = self._ring.reserve(wait=True)
            if slot is None:
                return
            self._kept.append(slot)
            self._asked.clear()
            self._bell.ring()
