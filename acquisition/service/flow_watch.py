"""How frames get through at this moment, from the ring and what is behind it."""

from forebay.acquisition.reduction.steps import NOT_SELECTED
from forebay.acquisition.run.writing.account import NOT_DELIVERED, NOT_RECORDED
from forebay.acquisition.service.flow import DropWatch, FlowState, Holding, StallWatch
from forebay.acquisition.service.parts import Parts
from forebay.acquisition.service.receiving import Receiving
from forebay.acquisition.service.recording import Recording

_NOT_HERE = (NOT_DELIVERED, NOT_RECORDED, NOT_SELECTED)


class FlowWatch:
    """Knows the state of the flow, and tells when it changes.

    Parameters
    ----------
    parts
        What the acquisition is made of.
    receiving
        Its half before the ring.
    recording
        Its half behind the ring.
    """

    def __init__(self, parts: Parts, receiving: Receiving, recording: Recording) -> None:
        self._ring = parts.ring
        self._account = parts.run.account
        self._receiving = receiving
        self._recording = recording
        self._holds = isinstance(parts.gate, Holding)
        self._drops = DropWatch(parts.clock)
        self._commits, self._takes = StallWatch(parts.clock), StallWatch(parts.clock)
        self._committer = parts.run.committer
        self.state = FlowState.NORMAL
        """The state at the last look."""

    @property
    def holding(self) -> bool:
        """Whether the source is held up."""
        return self._holds and self._ring.depth == self._ring.slots

    def look(self) -> FlowState | None:
        """Return the state if it has changed since the last look."""
        before, self.state = self.state, self._now()
        return None if self.state is before else self.state

    def _now(self) -> FlowState:
        behind, stalled = self._recording.flow, self._stalled()
        if behind.is_waiting:
            return behind
        if self._drops.dropping(self._lost()):
            return FlowState.DROPPING
        if behind is not FlowState.NORMAL:
            return behind
        if stalled:
            return FlowState.STORAGE_STALLED
        return FlowState.HOLDING if self.holding else FlowState.NORMAL

    def _stalled(self) -> bool:
        """Tell whether blocks that are full are not committed, or frames not taken from the ring."""
        waiting = self._recording.full_block_waits
        commits = self._commits.stalled(self._committer.frames, waiting=waiting)
        waiting = self._ring.waiting > 0
        return self._takes.stalled(self._account.next_counter, waiting=waiting) or commits

    def _lost(self) -> int:
        """Return how many frames were lost here, and not by the camera or on their way."""
        # What moves on between two of these looks is rather left out than counted as lost here.
        before = self._receiving.before
        waits = before is not None and (self._account.next_counter or 0) <= before.first
        elsewhere = before.count if before is not None and waits else 0
        dropped, _ = self._recording.counts()
        by_reason = list(self._account.dropped_by_reason.items())
        elsewhere += sum(count for reason, count in by_reason if reason.startswith(_NOT_HERE))
        return dropped - elsewhere - self._receiving.refused
