"""What is unusual about a source: all of it counted, and told at a bearable rate."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from forebay.acquisition.clock import Clock


class AnomalyKind(StrEnum):
    """What can be unusual; the texts are part of the run format."""

    COUNTER_GAP = "counter gap"
    """The camera counted frames that did not come; they are written down as dropped."""
    COUNTER_REPEATED = "counter repeated"
    """A frame came again; it is left out."""
    COUNTER_LATE = "counter late"
    """A frame came after a later one; it is left out, and stays written down as dropped."""
    COUNTER_WRAPPED = "counter wrapped"
    """The camera's counter went from its highest number to its lowest; no frame is missed."""
    COUNTER_RESTARTED = "counter restarted"
    """The camera counts anew; how many frames were lost is unknown."""
    COUNTER_INVALID = "counter invalid"
    """A frame's counter is no number that the camera can count to; the frame is left out."""
    GEOMETRY_CHANGED = "geometry changed"
    """A frame has another shape or dtype; it is refused."""
    FIELD_INVALID = "field invalid"
    """A frame's timestamp or its flags cannot be kept; it is refused."""
    TIME_WENT_BACK = "time went back"
    """A frame's timestamp is before that of the frame before it."""
    CLOCK_JUMPED = "clock jumped"
    """The camera's clock went by more than the time that passed here, or far back."""
    CLOCKS_APART = "clocks apart"
    """One of several synchronised cameras has a clock that differs; told once."""
    SOURCE_STALLED = "source stalled"
    """No frame has come for long."""
    SOURCE_RESUMED = "source resumed"
    """Frames come again."""
    SENDER_CHANGED = "sender changed"
    """Another program, or the same one started again, sends from here on."""
    SENDER_REFUSED = "sender refused"
    """Somebody connected and was turned away, or left without a message."""
    MESSAGE_REFUSED = "message refused"
    """A message is not as it should be; a frame in it counts as not delivered."""
    PARTNER_MISSING = "partner missing"
    """Of several synchronised cameras this one did not deliver its part in time."""
    PARTNER_LATE = "partner late"
    """Its part came after the others had gone on without it; the part is left out."""
    PARTNER_FAILED = "partner failed"
    """One of several synchronised cameras failed."""
    PARTNER_ENDED = "partner ended"
    """One of several synchronised cameras has no more frames, and the others were ended with it."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something unusual that happened."""

    kind: AnomalyKind
    """What kind of thing it is."""
    text: str
    """What happened, in a sentence."""
    counter: int | None
    """Counter of the frame that it was seen at, as numbered in the run."""
    at: int
    """When it was seen, in nanoseconds since 1970-01-01 UTC."""
    more: int = 0
    """Others of the kind that happened before it and are told of by this number alone."""


@runtime_checkable
class AnomalyReports(Protocol):
    """Something that tells of anomalies."""

    def take(self, *, everything: bool = False) -> tuple[Anomaly, ...]:
        """Return what is to be told since the last call."""

    def counts(self) -> Mapping[str, int]:
        """Return how often each kind happened."""


class AnomalyLog:
    """Counts all anomalies, and keeps one of each kind a second to tell.

    Its memory is bounded however many there are and however seldom they are taken: what is not
    told for itself is in the `Anomaly.more` of the next one of its kind.  Any thread may report
    and any may take.

    Parameters
    ----------
    clock
        Source of times.
    quiet_seconds
        Least time between two of a kind that are told.
    room
        Most anomalies that wait to be taken, beside the last one of each kind.

    Examples
    --------
    >>> from forebay.acquisition.clock import SYSTEM_CLOCK
    >>> log = AnomalyLog(SYSTEM_CLOCK)
    >>> for counter in (5, 6, 7):
    ...     log.report(AnomalyKind.COUNTER_REPEATED, f"frame {counter} came again", counter)
    >>> [(each.text, each.more) for each in log.take(everything=True)]
    [('frame 5 came again', 0), ('frame 7 came again', 1)]
    >>> log.counts()
    {'counter repeated': 3}
    """

    def __init__(self, clock: Clock, *, quiet_seconds: float = 1.0, room: int = 64) -> None:
        self._clock = clock
        self._quiet_seconds = quiet_seconds
        self._room = room
        self._lock = threading.Lock()
        self._counts: dict[AnomalyKind, int] = {}
        self._told_at: dict[AnomalyKind, float] = {}
        self._held: dict[AnomalyKind, Anomaly] = {}
        self._waiting: list[Anomaly] = []

    def report(self, kind: AnomalyKind, text: str, counter: int | None = None) -> None:
        """Count an anomaly, and keep it to be told now or later."""
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            before = self._held.pop(kind, None)
            more = before.more + 1 if before else 0
            anomaly = Anomaly(kind, text, counter, self._clock.time_ns(), more)
            if self._may_tell(kind) and len(self._waiting) < self._room:
                self._tell(anomaly)
            else:
                self._held[kind] = anomaly

    def take(self, *, everything: bool = False) -> tuple[Anomaly, ...]:
        """Return what is to be told since the last call, in the order in which it happened.

        Parameters
        ----------
        everything
            Whether to return also what is held back for the sake of the rate, as at the end.
        """
        with self._lock:
            for kind in tuple(self._held):
                if everything or self._may_tell(kind):
                    self._tell(self._held.pop(kind))
            taken, self._waiting = self._waiting, []
        return tuple(sorted(taken, key=lambda anomaly: anomaly.at))

    def counts(self) -> Mapping[str, int]:
        """Return how often each kind happened, for those that did."""
        with self._lock:
            return {kind.value: count for kind, count in self._counts.items()}

    def _may_tell(self, kind: AnomalyKind) -> bool:
        told_at = self._told_at.get(kind)
        return told_at is None or self._clock.monotonic() - told_at >= self._quiet_seconds

    def _tell(self, anomaly: Anomaly) -> None:
        self._told_at[anomaly.kind] = self._clock.monotonic()
        self._waiting.append(anomaly)


class CombinedLog:
    """The anomalies of several parts; each text begins with the name of its part.

    Parameters
    ----------
    parts
        The names of the parts, each with a log of it.
    """

    def __init__(self, parts: Sequence[tuple[str, AnomalyReports]]) -> None:
        self._parts = parts

    def take(self, *, everything: bool = False) -> tuple[Anomaly, ...]:
        """Return what is to be told since the last call, in the order in which it happened."""
        taken = [
            replace(anomaly, text=f"{name}: {anomaly.text}")
            for name, log in self._parts
            for anomaly in log.take(everything=everything)
        ]
        return tuple(sorted(taken, key=lambda anomaly: anomaly.at))

    def counts(self) -> Mapping[str, int]:
        """Return how often each kind happened, in all parts together."""
        sums: dict[str, int] = {}
        for _, log in self._parts:
            for kind, count in log.counts().items():
                sums[kind] = sums.get(kind, 0) + count
        return sums
