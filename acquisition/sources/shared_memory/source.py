"""Frames that a program in another process writes into memory that it shares with this one."""

import contextlib
import logging
import math
import threading
from collections.abc import Generator, Iterator
from typing import Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.control.bell import Bell
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata, OnLost, check_geometry
from forebay.acquisition.intake import AnomalyKind, AnomalyLog
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.ring.ring import FrameRing, slots_in
from forebay.acquisition.ring.slot_source import Receive
from forebay.acquisition.sources.description import merged
from forebay.acquisition.sources.parameters import real, whole
from forebay.acquisition.sources.shared_memory.door import Door, Met
from forebay.acquisition.sources.shared_memory.exchange import Exchange, Filled
from forebay.acquisition.sources.shared_memory.patience import Patience
from forebay.acquisition.sources.shared_memory.producer import Producer
from forebay.acquisition.sources.shared_memory.supply import RingSupply, SlotSupply

LENT_SLOTS = 64
"""Most slots that the producer has at a time, unless it is told otherwise."""

_OWN_BYTES = 256 * 2**20
_PART_LENT = 4
"""The producer has at most one in so many slots of a ring."""
_MOST = 2**62
_SILENT_SECONDS = 1.0
"""After such a time it is said what is waited for."""

_log = logging.getLogger("forebay.acquisition")


class SharedMemorySource:
    """Receives what a program writes by means of ``forebay_ring.h``.

    It listens as soon as it is made, and `wait` returns when a program, the producer, has said what
    its frames are like.  The producer is given memory when frames are asked for, and waits until
    then.  With `deliver_into` that is the ring itself: its frames are not copied.

    The source ends when the producer says goodbye.  If it dies, all that it has published is
    delivered, and then the source fails, or waits for the next one.

    Parameters
    ----------
    name
        What the producer connects to: letters, digits, ``_`` and ``-``.
    geometry
        The layout that the frames must have; None for any.
    reconnect
        Whether to wait for another producer with the same frames when one dies.
    frames
        Frames to deliver; None for no limit.
    lent_slots
        Most slots that the producer has at a time: as many frames as it can take while nobody here
        is awake.  It is never lent more than a quarter of a ring.
    metadata
        What to say of the instrument; it takes precedence over what the producer says.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If a parameter is out of range, or it cannot be listened there.
    FrameError
        If a run cannot hold frames of that layout.

    Notes
    -----
    Only programs of this user and of root can connect.  A producer can write into all slots of the
    ring as long as it runs, and is trusted with these; whatever else it writes is checked.

    Examples
    --------
    >>> with SharedMemorySource("camera-7") as source:
    ...     source.wait(timeout=0.01)
    Traceback (most recent call last):
    forebay.acquisition.errors.SourceError: no program has connected to shm:camera-7 within 0.01 s...
    """

    def __init__(
        self,
        name: str,
        *,
        geometry: Geometry | None = None,
        reconnect: bool = False,
        frames: int | None = None,
        lent_slots: int = LENT_SLOTS,
        metadata: ImageMetadata | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._wanted = None if geometry is None else check_geometry(geometry)
        self._reconnect = reconnect
        self._left = None if frames is None else whole("frames", frames, 1, _MOST)
        self._lent_slots = whole("lent_slots", lent_slots, 1, 2**16)
        self._given = metadata
        self._clock = clock
        self._first: Met | None = None
        self._next: Producer | None = None
        self._dead: str | None = None
        self._stopped = threading.Event()
        self._begun = self._closed = False
        # Held while something is waited for, so that nothing is freed under it.
        self._busy = threading.Lock()
        self.anomalies = AnomalyLog(clock)
        """What was unusual."""
        self.on_lost: OnLost | None = None
        """Called at the end with the last exposure that the producer counted, if it skipped that."""
        self._door = Door(name, self.anomalies)
        self._bell = Bell()
        self._patience = Patience(self._bell, self._stopped, clock)

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame.

        Raises
        ------
        SourceError
            If none was given and no producer has connected yet; `wait` for it.
        """
        if self._first is not None:
            return self._first.hello.geometry
        if self._wanted is not None:
            return self._wanted
        raise SourceError(f"no program has connected to {self._door.name} yet; wait() for it first")

    @property
    def metadata(self) -> ImageMetadata:
        """What the first producer says of the instrument, and what was given."""
        return merged(self._first.hello.metadata if self._first else ImageMetadata(), self._given)

    @property
    def can_wait(self) -> bool:
        """Whether the producer says that it waits while there is no room."""
        return self._first is not None and self._first.hello.waits

    def wait(
        self, *, timeout: float | None = None, cancelled: threading.Event | None = None
    ) -> Self:
        """Wait until a producer has connected, so that the layout of the frames is known.

        Parameters
        ----------
        timeout
            Longest time to wait, in seconds; None for no limit.
        cancelled
            Ends the wait when it is set, as `stop` does.

        Raises
        ------
        SourceError
            If none has connected until then.
        """
        seconds = math.inf if timeout is None else real("timeout", timeout, 0.0, 1e9)
        deadline = self._clock.monotonic() + seconds
        patience = Patience(
            self._bell, self._stopped, self._clock, deadline=deadline, cancelled=cancelled
        )
        with self._busy:
            self._meet_first(patience.within(_SILENT_SECONDS))
            if self._first is None and not patience.over:
                most = "" if timeout is None else f", for {timeout:g} s at most"
                _log.warning(
                    "waiting for a program to connect to %s%s: %s",
                    self._door.name,
                    most,
                    self._door.path,
                )
                self._meet_first(patience)
        if self._first is not None:
            return self
        if patience.stopped:
            raise SourceError(f"stopped before a program connected to {self._door.name}")
        raise SourceError(
            f"no program has connected to {self._door.name} within {timeout:g} s; start it, or "
            "wait longer"
        )

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames from memory of the source's own; once only.

        The pixels of a frame are valid until the next one is asked for.

        Raises
        ------
        SourceError
            If frames were asked for before, or the source is closed.  While iterating: if the
            producer dies, or does not keep to what was agreed.
        """
        self._begin()
        return self._deliver()

    def deliver_into(self, ring: FrameRing, receive: Receive) -> None:
        """Deliver the frames into a ring, where the producer writes them; once only.

        Parameters
        ----------
        ring
            The ring, made with ``shared=True``; it is finished in the end.
        receive
            Looks at each frame.  It returns the one to put into the ring, or None if its slot is to
            be used again.

        Raises
        ------
        SourceError
            As `frames`.
        """
        if ring.memory.mapping.descriptor < 0:
            raise ValueError("the ring is this process's own; make it with shared=True")
        self._begin()
        with self._busy, contextlib.closing(RingSupply(ring, self._bell)) as supply:
            lent = max(1, min(self._lent_slots, ring.slots // _PART_LENT))
            with contextlib.closing(self._arrivals(ring.memory, supply, lent)) as arrivals:
                for slot, frame in arrivals:
                    _hand_over(ring, slot, frame, receive, supply)
                    if ring.finished:
                        break

    def stop(self) -> None:
        """Make the delivery end after the frame that it is at; may be called from any thread."""
        self._stopped.set()
        self._bell.ring()

    def close(self) -> None:
        """Stop, and free what the source holds; may be called twice."""
        self.stop()
        with self._busy:
            if not self._closed:
                self._closed = True
                if self._next is not None:
                    self._next.refuse("the recording has ended before it began")
                self._door.close()
                self._bell.take_down()

    def __enter__(self) -> Self:
        """Use the source within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and free what the source holds."""
        self.close()

    def _meet_first(self, patience: Patience) -> None:
        """Wait for the first producer, and tell of those that are turned away."""
        while self._first is None and not patience.over:
            self._first = self._door.meet(patience, self._wanted)
            self._next = self._first.producer if self._first else None
            for anomaly in self.anomalies.take():
                _log.warning("%s: %s", anomaly.kind, anomaly.text)

    def _begin(self) -> None:
        if self._begun or self._closed:
            state = "is closed" if self._closed else "has delivered its frames already"
            raise SourceError(f"the source {state}; open it anew")
        self._begun = True

    def _deliver(self) -> Iterator[Frame]:
        count = max(2, min(self._lent_slots, slots_in(self.geometry, capacity_bytes=_OWN_BYTES)))
        supply = SlotSupply(range(count))
        memory = FrameSlots(self.geometry, count, shared=True)
        arrivals = self._arrivals(memory, supply, count)
        with memory.mapping, contextlib.closing(arrivals):
            while True:
                with self._busy:
                    arrival = next(arrivals, None)
                if arrival is None:
                    return
                slot, frame = arrival
                yield frame
                supply.put_back([slot])

    def _arrivals(
        self, memory: FrameSlots, supply: SlotSupply, lent: int
    ) -> Generator[tuple[int, Frame]]:
        """Yield frames, each with the slot that it lies in, from one producer after the other."""
        while (producer := self._next_producer()) is not None:
            with producer, Exchange(memory, lent, producer=producer.name) as exchange:
                try:
                    # First, so that the producer finds them when it is let in.
                    _lend(exchange, supply)
                    producer.welcome(exchange)
                    for slot, counter, timestamp, flags in self._filled(producer, exchange, supply):
                        yield slot, Frame(counter, timestamp, memory[slot].pixels, flags)
                finally:
                    supply.put_back(exchange.lent)
            if producer.counted_through is not None and self.on_lost is not None:
                self.on_lost(producer.counted_through, None)
            if producer.said_goodbye or self._stopped.is_set() or self._left == 0:
                return
            if not self._reconnect:
                raise SourceError(
                    f"{producer.name} has died: what it published is delivered; find out why, or "
                    "let the source reconnect"
                )
            self._dead = producer.name

    def _next_producer(self) -> Producer | None:
        """Return the producer that is there, or wait for one; None when stopped."""
        producer, self._next = self._next, None
        while producer is None and not self._patience.over:
            met = self._door.meet(self._patience, self.geometry)
            if met is not None:
                self._first = self._first or met
                producer = met.producer
                if self._dead is not None:
                    text = f"{producer.name} goes on where {self._dead} died"
                    self.anomalies.report(AnomalyKind.SENDER_CHANGED, text)
        return producer

    def _filled(
        self, producer: Producer, exchange: Exchange, supply: SlotSupply
    ) -> Iterator[Filled]:
        """Yield what a producer fills until it is gone, and lend it slots meanwhile."""
        gone = False
        doors = [self._door]
        while not gone:
            _lend(exchange, supply)
            ready = self._patience.wait(exchange, producer, *doors)
            if producer.fileno() in ready:
                # What it published before it went is collected after that is known.
                gone = producer.gone()
            elif self._door.fileno() in ready and not self._door.turn_away(
                f"{producer.name} is there already"
            ):
                doors.clear()
            for filled in exchange.collect():
                if self._stopped.is_set():
                    return
                yield filled
                if self._left is not None:
                    self._left -= 1
                    if not self._left:
                        return
                _lend(exchange, supply)
            if self._stopped.is_set():
                return


def _hand_over(
    ring: FrameRing, slot: int, frame: Frame, receive: Receive, supply: SlotSupply
) -> None:
    """Put a frame into the ring, if it is taken."""
    taken = None
    try:
        taken = receive(frame)
    finally:
        if taken is None:
            supply.put_back([slot])
    if taken is not None:
        ring.publish(slot, counter=taken.counter, timestamp=taken.timestamp, flags=int(taken.flags))


def _lend(exchange: Exchange, supply: SlotSupply) -> None:
    """Lend as many slots as there are, and as the producer may have."""
    slots: list[int] = []
    while len(slots) < exchange.room and (slot := supply.take()) is not None:
        slots.append(slot)
    exchange.lend(slots)
