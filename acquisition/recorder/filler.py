"""Filling block after block with frames, in the order of their counters."""

from forebay.acquisition.frames import Frame
from forebay.acquisition.memory.slots import FrameRoom, FrameSlots
from forebay.acquisition.recorder.blocks import BlocksInFlight, Flight
from forebay.acquisition.ring.ring import NOT_IN_RING, Arrived, Lost
from forebay.acquisition.run.writing.writable import WritableRun


class BlockFiller:
    """Puts frames into the block that is being filled, and begins the next one when it is full.

    Parameters
    ----------
    run
        The run.
    blocks
        Its blocks in flight.
    own
        Memory of its own, for frames that do not stay where they came: for all blocks that may be
        in flight, or None where no such frame comes.
    """

    def __init__(
        self, run: WritableRun, blocks: BlocksInFlight, *, own: FrameSlots | None = None
    ) -> None:
        self._run = run
        self._blocks = blocks
        self._own = own
        self._flight: Flight | None = None

    @property
    def has_room(self) -> bool:
        """Whether a frame can be added without waiting."""
        return self._flight is not None or self._blocks.has_room

    def own_room(self) -> FrameRoom:
        """Return the filler's own memory for the next frame; waits for a block to be done."""
        if self._own is None:
            raise RuntimeError("the filler has no memory of its own")
        size = self._run.layout.frames_per_block
        if self._flight is None:
            # The memory of the next block is free when it could be begun.
            return self._own[self._blocks.wait_for_next() * size % self._own.count]
        block = self._flight.block
        return self._own[(block.number * size + len(block)) % self._own.count]

    def add(self, frame: Arrived, room: FrameRoom, *, slot: int | None) -> None:
        """Put a frame into the block that is being filled; waits for one to be done.

        Parameters
        ----------
        frame
            Its header.
        room
            Where its pixels are, until the block is durable.
        slot
            The slot of the ring that is free then, if it lies in one.

        Raises
        ------
        StorageError
            If the writing has ended with an error.
        """
        flight = self._begin()
        self._blocks.until_ready(lambda: self._run.begin(frame.counter))
        self._run.take(frame.counter, waited=max(0.0, self._blocks.now() - frame.at))
        if slot is not None:
            flight.slots.append(slot)
        flight.arrived.append(frame.at)
        flight.block.add(room, counter=frame.counter, timestamp=frame.timestamp, flags=frame.flags)
        if flight.block.full:
            self._blocks.seal(flight)
            self._flight = None

    def add_copy(self, frame: Frame) -> None:
        """Put a copy of a frame into the block that is being filled."""
        room = self.own_room()
        room.pixels[...] = frame.data
        now = self._blocks.now()
        arrived = Arrived(NOT_IN_RING, frame.counter, frame.timestamp, int(frame.flags), now)
        self.add(arrived, room, slot=None)

    def lose(self, lost: Lost) -> None:
        """Write lost frames down."""
        self._blocks.until_ready(lambda: self._run.begin(lost.first))
        self._run.drop(lost.first, lost.last, reason=lost.reason, at=lost.at)

    def close(self, *, reason: str) -> None:
        """Commit what there is, and close the run.

        Raises
        ------
        StorageError
            If that cannot be done.
        """
        flight, self._flight = self._flight, None
        self._blocks.close(flight, reason=reason)

    def _begin(self) -> Flight:
        if self._flight is None:
            self._flight = self._blocks.begin()
        return self._flight
