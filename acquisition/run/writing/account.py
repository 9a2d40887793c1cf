"""Which counters have come, and which were dropped: the sums of a run."""

import operator
from collections.abc import Callable

from forebay.acquisition.errors import FrameError
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.run.writing.position import Position

NOT_DELIVERED = "the camera counted it and did not deliver it"
NOT_RECORDED = "it was not committed when an earlier writer ended, or came while there was none"


class Account:
    """Counts frames as they come, in the order of their counters.

    Parameters
    ----------
    at
        How far the run has come.
    gap
        Why counters are missing in front of the first frame to come.
    usual_gap
        Why they are missing between the others.
    now
        Gives the time, in nanoseconds since 1970-01-01 UTC.
    """

    def __init__(
        self, at: Position, *, gap: str, usual_gap: str = NOT_DELIVERED, now: Callable[[], int]
    ) -> None:
        self.first_counter = at.first_counter
        """The camera's counter at the first frame; None before it."""
        self.next_counter = at.next_counter
        """The lowest counter that has not been seen; None before the first one."""
        self.dropped = at.dropped
        """Number of frames that were dropped."""
        self.dropped_by_reason: dict[str, int] = {}
        """Frames that were dropped since this writer has the run, by reason."""
        self._gap = gap
        self._usual_gap = usual_gap
        self._now = now
        self._notes: list[Dropped] = []

    @property
    def counted(self) -> int:
        """Number of frames that the camera counted, from the first one seen."""
        if self.first_counter is None or self.next_counter is None:
            return 0
        return self.next_counter - self.first_counter

    def take(self, first: int, last: int, *, waited: float = 0.0) -> None:
        """Move on behind the counters from `first` to `last`; what is jumped over is dropped.

        Parameters
        ----------
        first, last
            The counters.
        waited
            Seconds since they came, when it could be noticed that others lack.

        Raises
        ------
        FrameError
            If they are not above those that came.
        """
        following = self.next_counter
        if following is not None and first < following:
            raise FrameError(f"frame {first} comes again or too late: {following} was the next")
        if self.first_counter is None:
            self.first_counter = first
        if following is not None and first > following:
            at = self._now() - round(waited * 1e9)
            self._note(following, first - 1, self._gap, at)
        self.next_counter = last + 1
        self._gap = self._usual_gap

    def drop(self, first: int, last: int, *, reason: str, at: int | None = None) -> None:
        """Write the counters from `first` to `last` down as dropped, now or at the time `at`.

        Raises
        ------
        FrameError
            If they do not follow the last one that came.
        """
        first, last = operator.index(first), operator.index(last)
        lowest = self.next_counter or 0
        if not lowest <= first <= last < 2**64:
            raise FrameError(f"cannot drop the frames {first} to {last}: {lowest} is the next")
        self.take(first, last)
        self._note(first, last, reason, at)

    def explain_gap(self, reason: str) -> None:
        """Say why counters will be missing in front of the next frame, if they are."""
        self._gap = reason

    def cut(self) -> tuple[Dropped, ...]:
        """Return what was dropped since this was last asked; it goes into the next record."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def _note(self, first: int, last: int, reason: str, at: int | None = None) -> None:
        dropped = Dropped(first, last, reason, self._now() if at is None else at)
        # Whoever looks at both meanwhile is to find a reason for each.
        self.dropped_by_reason[reason] = self.dropped_by_reason.get(reason, 0) + dropped.count
        self.dropped += dropped.count
        before = self._notes[-1] if self._notes else None
        if before and before.last + 1 == first and before.reason == reason:
            dropped = Dropped(before.first, last, reason, before.at)
            self._notes.pop()
        self._notes.append(dropped)
