"""The receiving half of an acquisition: from the source to the ring."""

from collections import Counter

from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import AccountingSource, Frame
from forebay.acquisition.intake import (
    Anomaly,
    AnomalyReports,
    CombinedLog,
    Intake,
    Refused,
    StallWatch,
    stall_patience,
)
from forebay.acquisition.ring.slot_source import SlotSource
from forebay.acquisition.run.writing.account import NOT_DELIVERED, NOT_RECORDED
from forebay.acquisition.service.latency import LatencyHistogram
from forebay.acquisition.service.parts import Parts


class Receiving:
    """Takes frames from the source, looks at each, and brings it into the ring.

    Parameters
    ----------
    parts
        What the acquisition is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._source = parts.source
        self._ring = parts.ring
        self._gate = parts.gate
        self._clock = parts.clock
        self._lost_from = parts.lost_from
        settings = parts.settings
        of_source = getattr(self._source, "anomalies", None)
        self._intake = Intake(
            self._source.geometry,
            clock=parts.clock,
            counter_bits=settings.counter_bits,
            following=parts.following,
            # The cameras of a combined source have been compared each with itself.
            compares_clocks=not isinstance(of_source, CombinedLog),
        )
        self._logs: list[AnomalyReports] = [self._intake.anomalies]
        if isinstance(of_source, AnomalyReports):
            self._logs.append(of_source)
        self._stall = StallWatch(
            self._intake.anomalies,
            patience=settings.stall_seconds or stall_patience(self._source.metadata),
            began=parts.clock.monotonic(),
        )
        if isinstance(self._source, AccountingSource):
            self._source.on_lost = self._lose
        self._received = self._came = 0
        self._first = self._latest = 0.0
        self.before: Dropped | None = None
        """What no earlier writer of the run has left, before the first frame that came."""
        self.refused = 0
        """Frames that came and were written down as dropped, for what was wrong with them."""
        self.latency = LatencyHistogram()
        """From a frame's delivery to its place in the ring."""

    def run(self) -> None:
        """Receive until the source ends, or the ring is finished."""
        if isinstance(self._source, SlotSource):
            self._source.deliver_into(self._ring, self._take_in)
            return
        for frame in self._source.frames():
            began = self._clock.monotonic()
            taken = self._take_in(frame)
            if taken is not None:
                self._gate.place(self._ring, taken)
            self.latency.record(self._clock.monotonic() - began)
            if self._ring.finished:
                break

    @property
    def received_bytes(self) -> int:
        """Bytes of the frames that have come."""
        return self._received * self._source.geometry.frame_bytes

    @property
    def frames_per_second(self) -> float:
        """Rate at which frames came, from the first to the last; 0 until there are two."""
        seconds = self._latest - self._first
        return (self._came - 1) / seconds if seconds > 0 else 0.0

    @property
    def stalled(self) -> bool:
        """Whether no frame has come for too long."""
        return self._stall.stalled

    def look_for_stall(self, *, held_up: bool) -> None:
        """Note if no frame has come for too long, unless the source is held up."""
        self._stall.look(self._intake.last, self._clock.monotonic(), held_up=held_up)

    def take_anomalies(self, *, everything: bool) -> list[Anomaly]:
        """Return what was unusual and is to be told; the same is told only now and then.

        Parameters
        ----------
        everything
            Whether to return what is held back, too.
        """
        return [each for log in self._logs for each in log.take(everything=everything)]

    def anomalies(self) -> dict[str, int]:
        """Return how often each kind of anomaly was seen."""
        counts: Counter[str] = Counter()
        for log in self._logs:
            counts.update(log.counts())
        return dict(counts)

    def _lose(self, counter: int, why: str | None) -> None:
        """Write down an exposure that the source knows of and does not deliver."""
        lost = self._intake.lose(counter, why or NOT_DELIVERED)
        if lost is not None:
            self._begin(lost.counter)
            self.refused += why is not None
            self._ring.lose(lost.counter, lost.counter, reason=lost.reason)

    def _begin(self, number: int) -> None:
        """Write down once what was lost between an earlier writer and this one.

        As all that is lost it goes where the frames go, so that it is known wherever they are found
        after a kill: with none of them it would be for the next writer to say why it is missing.
        """
        first, self._lost_from = self._lost_from, None
        if first is not None and number > first:
            self.before = Dropped(first, number - 1, NOT_RECORDED, self._clock.time_ns())
            self._ring.lose(first, number - 1, reason=NOT_RECORDED)

    def _take_in(self, frame: Frame) -> Frame | None:
        """Return a frame as it is to be put into the ring; None if it is not."""
        outcome = self._intake.receive(frame)
        self._latest = self._intake.last or self._latest
        self._first = self._first if self._came else self._latest
        self._came += 1
        if outcome is not None:
            self._begin(outcome.counter)
        if isinstance(outcome, Refused):
            self.refused += 1
            self._ring.lose(outcome.counter, outcome.counter, reason=outcome.reason)
            return None
        self._received += outcome is not None
        return outcome
