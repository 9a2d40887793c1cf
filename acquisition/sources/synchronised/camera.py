"""One of several synchronised cameras, received in a thread of its own."""

import threading
from contextlib import ExitStack
from typing import Self

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import AccountingSource, Frame, FrameSource
from forebay.acquisition.intake import AnomalyKind, AnomalyReports, Intake, Refused
from forebay.acquisition.sources.synchronised.planes import PlaneQueue

_END_SECONDS = 5.0
"""Time that a camera has to end when it is stopped, beside its exposure."""


class Camera:
    """Brings the frames of a source to a queue, by their triggers.

    Parameters
    ----------
    name
        What it is called.
    source
        Where its frames come from; entered and left with this camera.
    intake
        What they pass.
    queue
        Where they wait for their partners.
    first_counter
        Counter of trigger 0; that of the first frame if it is None.
    clock
        Source of times.
    """

    def __init__(
        self,
        name: str,
        source: FrameSource,
        intake: Intake,
        queue: PlaneQueue,
        *,
        first_counter: int | None,
        clock: Clock,
    ) -> None:
        self.name = name
        self.source = source
        self.intake = intake
        self.queue = queue
        self.failure: BaseException | None = None
        """What ended it, where that was not the end of its frames."""
        self.behind = 0
        """How far its clock is behind that of the first camera, in nanoseconds, as far as known."""
        self.counted_through = -1
        """The last trigger that it is known to have counted, whether its frame came or not."""
        if isinstance(source, AccountingSource):
            source.on_lost = self._lose
        self._told_apart = False
        self._first_counter = first_counter
        self._clock = clock
        self._patience = _END_SECONDS + (source.metadata.exposure or 0.0)
        self._entered = ExitStack()
        # A daemon, so that a camera that never comes back does not keep the process.
        self._thread = threading.Thread(
            target=self._receive, name=f"forebay-camera-{name}", daemon=True
        )

    @property
    def pressing(self) -> bool:
        """Whether it has a frame for which there is no room, and cannot be held up."""
        return self.queue.overfull and not self.source.can_wait

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def join(self) -> bool:
        """Wait for the thread to end, once the source is stopped; False if it does not."""
        if self._thread.ident is not None:
            self._thread.join(self._patience)
        return not self._thread.is_alive()

    def miss(self, trigger: int) -> None:
        """Tell that a trigger goes on without this camera."""
        text = f"trigger {trigger} goes on without this camera"
        self.intake.anomalies.report(AnomalyKind.PARTNER_MISSING, text, trigger)

    def tell_end(self, trigger: int, *, through: int) -> None:
        """Tell that this camera ended after a trigger, and the others, which had gone on, with it."""
        text = (
            f"it ended after trigger {trigger}, and the others with it, which had come to trigger "
            f"{through}"
        )
        self.intake.anomalies.report(AnomalyKind.PARTNER_ENDED, text, trigger)

    def compare_clock(self, timestamp: int, reference: int, *, of: str, tolerance: float) -> None:
        """Take down how far its clock is behind another one, and tell it once if that is far.

        Parameters
        ----------
        timestamp, reference
            What the two clocks say of one trigger.
        of
            Whose the other clock is.
        tolerance
            Seconds that are not worth telling.
        """
        self.behind = reference - timestamp
        if self._told_apart or abs(self.behind) / 1e9 <= tolerance:
            return
        self._told_apart = True
        way = "behind" if self.behind > 0 else "ahead of"
        text = (
            f"its clock is {abs(self.behind) / 1e9:.3f} s {way} that of {of}, which gives the "
            "times of the frames"
        )
        self.intake.anomalies.report(AnomalyKind.CLOCKS_APART, text)

    def logs(self) -> list[AnomalyReports]:
        """Return what tells of anomalies of this camera: here, and the source itself."""
        own = getattr(self.source, "anomalies", None)
        return [self.intake.anomalies, *([own] if isinstance(own, AnomalyReports) else [])]

    def __enter__(self) -> Self:
        """Enter the source."""
        self._entered.enter_context(self.source)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Leave the source, unless its thread is stuck in it."""
        if not self._thread.is_alive():
            self._entered.close()

    def _receive(self) -> None:
        try:
            for frame in self.source.frames():
                if not self._take(frame):
                    break
        except BaseException as failure:  # noqa: BLE001 (raised again by whoever takes the frames)
            self.failure = failure
            self.intake.anomalies.report(AnomalyKind.PARTNER_FAILED, f"it failed: {failure}")
        finally:
            self.queue.end()

    def _take(self, frame: Frame) -> bool:
        """Bring a frame to the queue; False if none is wanted any more."""
        outcome = self.intake.receive(frame)
        if self.intake.restarts:
            raise SourceError(
                f"it began to count anew with {frame.counter}, so that the triggers of its frames "
                "are unknown; start another run"
            )
        if outcome is None:
            return True
        trigger = self._count(outcome.counter)
        if isinstance(outcome, Refused):
            return True
        if not self.queue.put(outcome, trigger=trigger, now=self._clock.monotonic()):
            if self.queue.closed:
                return False
            text = f"the frame for trigger {trigger} came too late; it is left out"
            self.intake.anomalies.report(AnomalyKind.PARTNER_LATE, text, trigger)
        return True

    def _lose(self, counter: int, why: str | None) -> None:
        """Take note of an exposure that the source knows of and does not deliver."""
        lost = self.intake.lose(counter, why or "")
        if lost is not None and not self.intake.restarts:
            self._count(lost.counter)

    def _count(self, number: int) -> int:
        """Return which trigger an exposure belongs to, and go on to it."""
        if self._first_counter is None:
            self._first_counter = number
        self.counted_through = number - self._first_counter
        return self.counted_through
