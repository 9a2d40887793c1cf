"""What becomes of the frames that are not committed when a recording ends."""

import logging
from collections.abc import Iterator

from forebay.acquisition.service.flow import FlowState
from forebay.acquisition.service.parts import Parts
from forebay.acquisition.service.recording import Recording

_HANGING_SECONDS = 2.0
"""After such a time without a commit it is said what is waited for."""

_log = logging.getLogger("forebay.acquisition")


class LastFrames:
    """Tells the operator of frames that the run's own log has no room for.

    Parameters
    ----------
    parts
        What the acquisition is made of.
    recording
        What is done with the frames behind the ring.
    patience
        Seconds for which the storage is waited for at the end.
    """

    def __init__(self, parts: Parts, recording: Recording, *, patience: float) -> None:
        self._parts = parts
        self._recording = recording
        self._patience = patience
        self._waiting = self._told_hanging = False
        self._progress: tuple[int, float] = (-1, 0.0)
        kept = {"frame journal": parts.journal, "second path": parts.spill}
        names = [name for name, there in kept.items() if there is not None]
        lack = "lacks" if len(names) == 1 else "lack"
        self._at_stake = (
            f"those that the {' and the '.join(names)} {lack} are" if names else "they are"
        )

    def tell_waiting(self, flow: FlowState | None) -> None:
        """Say, each time that it begins, how long they wait for the storage, and how many they are.

        Parameters
        ----------
        flow
            How frames get through; None as long as more may come.
        """
        waiting = flow is not None and flow.is_waiting
        if waiting and not self._waiting:
            full = flow is FlowState.WAITING_FOR_SPACE
            for where, lost, counted, _ in self._uncommitted():
                _log.error(
                    "%s %s the last %d of %d frames: %s lost unless %s within %g s",
                    where,
                    "has no room for" if full else "does not answer, and has not confirmed",
                    lost,
                    counted,
                    self._at_stake,
                    "there is room" if full else "it does",
                    self._patience,
                )
        self._waiting = waiting

    def tell_hanging(self, *, stopped: bool) -> None:
        """Say once if the storage takes nothing for some time, and how to leave without it.

        Parameters
        ----------
        stopped
            Whether the operator has asked for the end already.
        """
        committed, now = self._parts.run.committer.frames, self._parts.clock.monotonic()
        if committed != self._progress[0]:
            self._progress = committed, now
        since = now - self._progress[1]
        if since < _HANGING_SECONDS or self._told_hanging:
            return
        for where, lost, counted, _ in self._uncommitted():
            self._told_hanging = True
            _log.error(
                "%s has taken nothing for %.0f s, and the last %d of %d frames wait for it: %s lost "
                "if you leave without it, by Ctrl-C or SIGTERM %s",
                where,
                since,
                lost,
                counted,
                self._at_stake,
                "once more" if stopped else "twice",
            )

    def tell_lost(self) -> None:
        """Say how many frames came that the log knows nothing of."""
        for where, lost, counted, dropped in self._uncommitted():
            _log.error(
                "%d of the %d frames that the camera counted are not committed to %s%s",
                lost,
                counted,
                where,
                f", beside {dropped} that were dropped" if dropped else "",
            )

    def _uncommitted(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield where frames are not committed, how many, how many were counted, and dropped."""
        raw = self._parts.raw
        runs = [(self._parts.run, *self._recording.counts())]
        if raw is not None:
            runs.append((raw, raw.account.dropped, raw.account.counted))
        for run, dropped, counted in runs:
            lost = counted - dropped - run.committer.frames
            if lost:
                yield run.storage.where, lost, counted, dropped
