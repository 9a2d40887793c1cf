"""Whether a source still delivers."""

from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.intake.anomalies import AnomalyKind, AnomalyLog

_LEAST_PATIENCE = 5.0
_PERIODS = 10


def stall_patience(metadata: ImageMetadata) -> float:
    """Return the seconds without a frame after which a source is said to have stalled.

    Ten times what a frame takes by the frame rate or the exposure, and 5 s at the least.

    Examples
    --------
    >>> stall_patience(ImageMetadata(frame_rate=100.0)), stall_patience(ImageMetadata(exposure=2.0))
    (5.0, 20.0)
    """
    period = max(1 / metadata.frame_rate if metadata.frame_rate else 0.0, metadata.exposure or 0.0)
    return max(_LEAST_PATIENCE, _PERIODS * period)


class StallWatch:
    """Tells when a source stalls and when it goes on again; asked from time to time.

    Parameters
    ----------
    log
        Where it is told.
    patience
        Seconds without a frame after which the source has stalled.
    began
        When the source began, on the monotonic clock.

    Examples
    --------
    >>> from forebay.acquisition.clock import SYSTEM_CLOCK
    >>> log = AnomalyLog(SYSTEM_CLOCK)
    >>> watch = StallWatch(log, patience=5.0, began=0.0)
    >>> [watch.look(last, now) for last, now in [(None, 1.0), (1.5, 2.0), (1.5, 7.0), (7.5, 8.0)]]
    [False, False, True, False]
    >>> [anomaly.text for anomaly in log.take()]
    ['no frame has come for 5.5 s', 'frames come again, after 6.0 s without']
    """

    def __init__(self, log: AnomalyLog, *, patience: float, began: float) -> None:
        self._log = log
        self._patience = patience
        self._since = self._looked = began
        self._stalled = False

    @property
    def stalled(self) -> bool:
        """Whether the source had stalled when it was last looked at."""
        return self._stalled

    def look(self, last: float | None, now: float, *, held_up: bool = False) -> bool:
        """Tell whether the source has stalled.

        Parameters
        ----------
        last
            When the last frame came, on the monotonic clock; None before the first.
        now
            The time now.
        held_up
            Whether it is not the source that is waited for, as when there is no room for more.
        """
        if last is not None and last > self._since:
            if self._stalled:
                quiet = last - self._since
                text = f"frames come again, after {quiet:.1f} s without"
                self._log.report(AnomalyKind.SOURCE_RESUMED, text)
            self._since, self._stalled = last, False
        stood_still = now - self._looked > self._patience
        self._looked = now
        if (held_up or stood_still) and not self._stalled:
            # It is not the source either where nobody has looked, as when the process was stopped.
            self._since = now
        quiet = now - self._since
        if not self._stalled and quiet > self._patience:
            self._stalled = True
            self._log.report(AnomalyKind.SOURCE_STALLED, f"no frame has come for {quiet:.1f} s")
        return self._stalled
