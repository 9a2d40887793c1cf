"""Sending a run, or a result, to another site: whole, compared there, acknowledged at both ends."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.format.layout import METADATA
from forebay.acquisition.run.lock import writer_name
from forebay.tiering.errors import (
    CopyDamagedError,
    PlaceUnavailableError,
    TransferStoppedError,
)
from forebay.tiering.handoff.budget import ByteBudget
from forebay.tiering.handoff.destination import Destination
from forebay.tiering.handoff.receipt import (
    MANIFEST,
    RECEIPT,
    Receipt,
    digest_of,
    manifest,
    manifest_objects,
    sent_key,
)
from forebay.tiering.moving.throttle import Throttle
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.shelf import Shelf

STREAMS = 4
"""Objects that are sent at a time, if not told otherwise."""
_IN_FLIGHT_BYTES = 256 * 2**20
_PUTS = 2
"""Times that an object is put which is not read back as it was put."""

type Reached = Callable[[str], None]
"""Told of each point that a transfer comes to."""


class Sendable(Protocol):
    """What is sent: objects that belong together."""

    @property
    def run_id(self) -> str:
        """The run that they are of."""

    @property
    def objects(self) -> Mapping[str, KnownObject]:
        """What each object is, by its key."""

    @property
    def size(self) -> int:
        """Length of all of them."""

    def read(self, key: str) -> bytes:
        """Return an object, compared with what it is known as."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a transfer has done."""

    state: Literal["sent", "there already"]
    """Whether anything had to be sent."""
    receipt: Receipt
    """What both ends have of it."""
    sent_objects: int
    """Objects that this call has sent; an earlier one may have sent the others."""
    sent_bytes: int
    """Their length."""


class Transfer:
    """One attempt at sending a run, or a result.

    Parameters
    ----------
    contents
        What is sent.
    destination
        Where it goes.
    source
        The shelf of the run's own place, for the receipt.
    streams
        Objects that are sent at a time.
    bytes_per_second
        Most bytes that are sent in a second; as many as can be if not given.
    in_flight
        Most bytes that are in memory at a time.
    on_object
        Called with the length of each object that has been read back at the target.
    reached
        Told of each point that it comes to, by name: tests end it there.
    stop
        When set, it ends behind the objects that are on their way.
    clock
        Source of the times in the receipt.
    """

    def __init__(
        self,
        contents: Sendable,
        destination: Destination,
        source: Shelf,
        *,
        streams: int = STREAMS,
        bytes_per_second: float | None = None,
        in_flight: int = _IN_FLIGHT_BYTES,
        on_object: Callable[[int], None] = lambda _: None,
        reached: Reached = lambda _: None,
        stop: threading.Event | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._contents = contents
        self._destination = destination
        self._source = source
        self._streams = streams
        self._budget = ByteBudget(in_flight)
        self._stop = stop or threading.Event()
        self._throttle = Throttle(bytes_per_second, clock=clock.monotonic, wait=self._stop.wait)
        self._on_object = on_object
        self._reached = reached
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._sent_objects = 0
        self._sent_bytes = 0

    def run(self) -> Sent:
        """Send what is not there yet, and acknowledge it at both ends.

        Returns
        -------
        Sent
            What was done.

        Raises
        ------
        TargetTakenError
            If something else is at the target.
        RunDamagedError
            If an object of the run is missing or has changed.
        CopyDamagedError
            If the target does not give back what it was given.
        PlaceUnavailableError, TierFullError
            If the target cannot be used, or has no room.
        TransferStoppedError
            If it was told to stop.  After each of these, another attempt goes on from there.
        """
        begun = self._now()
        run_id = self._contents.run_id
        content = manifest(run_id, self._contents.objects)
        place = self._destination.shelf
        self._destination.refuse_other(run_id, content)
        done = sent_already(run_id, self._destination, self._source)
        if done is not None and done.receipt.manifest == digest_of(content):
            return done
        with self._destination.making(run_id, content) as shelf:
            self._reached("manifest put")
            self._send(shelf)
            self._reached("objects sent")
        self._reached("named")
        receipt = Receipt(
            run_id=run_id,
            manifest=digest_of(content),
            objects=len(self._contents.objects),
            total_bytes=self._contents.size,
            source=self._source.where,
            target=place.where,
            by=writer_name(),
            begun=begun,
            done=self._now(),
        )
        _acknowledge(place, RECEIPT, receipt)
        self._reached("receipt at the target")
        _acknowledge(self._source, sent_key(place.where), receipt)
        self._reached("receipt at the source")
        return Sent("sent", receipt, self._sent_objects, self._sent_bytes)

    def _send(self, shelf: Shelf) -> None:
        """Send everything; documents last, and the group, by which a run is seen, last of all."""
        there = shelf.sizes()
        documents = [key for key in self._contents.objects if key.endswith(METADATA)]
        others = [key for key in self._contents.objects if not key.endswith(METADATA)]
        self._send_some(shelf, iter(others), there, streams=self._streams)
        self._send_some(shelf, iter(documents), there, streams=1)

    def _send_some(
        self, shelf: Shelf, keys: Iterator[str], there: dict[str, int], *, streams: int
    ) -> None:
        failed = threading.Event()

        def work() -> None:
            while not (self._stop.is_set() or failed.is_set()):
                with self._one_at_a_time:
                    key = next(keys, None)
                if key is None:
                    return
                try:
                    self._send_one(shelf, key, size_there=there.get(key))
                except BaseException:
                    failed.set()
                    raise

        with ThreadPoolExecutor(streams, "send") as pool:
            working = [pool.submit(work) for _ in range(streams)]
        for each in working:
            each.result()
        if self._stop.is_set():
            raise TransferStoppedError(
                f"stopped before all of it was at {shelf.where}: the same command goes on from "
                "there, and nothing is seen of the run until then"
            )

    def _send_one(self, shelf: Shelf, key: str, *, size_there: int | None) -> None:
        """Send an object and read it back, unless it is there already."""
        known = self._contents.objects[key]
        with self._budget.holding(known.bytes):
            whole = size_there == known.bytes and shelf.look(key) == known
            if not whole:
                content = self._contents.read(key)
                for _ in range(_PUTS):
                    with self._one_at_a_time:
                        self._throttle(len(content))
                    if self._stop.is_set():
                        return
                    shelf.put(key, content)
                    if shelf.look(key) == known:
                        break
                else:
                    raise CopyDamagedError(
                        f"{shelf.where}/{key} was put there twice, and other bytes were read back "
                        "each time: look after that place"
                    )
        with self._one_at_a_time:
            if not whole:
                self._sent_objects += 1
                self._sent_bytes += known.bytes
            self._on_object(known.bytes)
        self._reached("object there")

    def _now(self) -> str:
        seconds = self._clock.time_ns() / 1e9
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def sent_already(run_id: str, destination: Destination, source: Shelf) -> Sent | None:
    """Return what was done by an earlier transfer of a run, if all of it is at the target.

    Parameters
    ----------
    run_id
        The run.
    destination
        Where it was sent to.
    source
        The shelf of the run's own place, which gets the receipt if it has none.
    """
    place = destination.shelf
    said, content = place.read(RECEIPT), place.read(MANIFEST)
    if said is None or content is None:
        return None
    receipt = Receipt.from_json(said, where=f"{place.where}/{RECEIPT}")
    known, objects = manifest_objects(content, where=f"{place.where}/{MANIFEST}")
    told = known == run_id and receipt.manifest == digest_of(content)
    if not (told and destination.holds(objects)):
        return None
    _acknowledge(source, sent_key(place.where), receipt)
    return Sent("there already", receipt, 0, 0)


def _acknowledge(shelf: Shelf, key: str, receipt: Receipt) -> None:
    """Put the receipt, unless it is there."""
    content = receipt.to_json()
    try:
        if shelf.read(key) != content:
            shelf.put(key, content)
    except PlaceUnavailableError as error:
        raise PlaceUnavailableError(
            f"the run is whole at {receipt.target}, and only its receipt cannot be written down: "
            f"{error}"
        ) from error
