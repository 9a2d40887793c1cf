"""A camera that writes into the ring itself, and has done so already."""

from benchmarks.recording_measurements.source import PreparedSource

from forebay.acquisition.frames import Frame
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.ring.slot_source import Receive


class RingSource(PreparedSource):
    """Delivers frames where they lie, as a program with which memory is shared does.

    The pictures are in the ring before anything is measured, so that a whole number of their series
    must fit into it.
    """

    def fill(self, ring: FrameRing) -> None:
        """Put the pictures into a ring from which nothing has been taken yet.

        Raises
        ------
        ValueError
            If it is not for a whole number of their series.
        """
        if ring.slots % len(self._pictures):
            raise ValueError(
                f"{len(self._pictures)} pictures do not go round in {ring.slots} slots"
            )
        for slot in range(ring.slots):
            ring[slot].fill(self._pictures[slot % len(self._pictures)])

    def deliver_into(self, ring: FrameRing, receive: Receive) -> None:
        """Publish slot after slot; blocks are given back as a whole, in whatever order."""
        for frame in self.frames():
            slot = ring.reserve(wait=True)
            if slot is None:
                break
            pixels = ring[slot].pixels
            taken = receive(Frame(frame.counter, frame.timestamp, pixels, frame.flags))
            if taken is None:
                ring.free([slot])
                continue
            ring.publish(
                slot, counter=taken.counter, timestamp=taken.timestamp, flags=int(taken.flags)
            )
        ring.finish()
