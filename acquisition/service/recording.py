"""The recording half of an acquisition: from the ring to the run, and whatever helps on the way."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from forebay.acquisition.errors import StorageAwayError, StorageNotReadyError
from forebay.acquisition.journal.group_commit import GroupCommit
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.recorder.blocks import BlocksInFlight, Flight
from forebay.acquisition.recorder.filler import BlockFiller
from forebay.acquisition.recorder.recorder import Recorder
from forebay.acquisition.run.writing.leftovers import remove_leftovers
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service.flow import FlowState
from forebay.acquisition.service.latency import LatencyHistogram
from forebay.acquisition.service.overflow import DAMAGED_SPILL, SpillOverflow
from forebay.acquisition.service.parts import Parts
from forebay.acquisition.service.steps import Journalling, OverloadReduction, RawTap


class Recording:
    """Everything that `Parts` say is done with frames behind the ring.

    Parameters
    ----------
    parts
        What the acquisition is made of.
    on_commit
        Called from the committing thread when blocks are committed, with the number of blocks.
    on_thread
        Called at the start of each thread, in it, with what it does.
    patience
        Seconds to wait for room on the storage, or its answer, once `end` was called.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        on_commit: Callable[[int], None],
        on_thread: Callable[[str], None],
        patience: float,
    ) -> None:
        self._parts = parts
        self._on_commit = on_commit
        self._on_thread = on_thread
        self._patience = patience
        self._closed = False
        self._dropped = self._counted = 0
        self.latency = LatencyHistogram()
        """From a frame's arrival in the ring to its commit."""
        self._blocks = self._blocks_of(parts.run, on_commit=self._committed)
        self._filler = BlockFiller(parts.run, self._blocks, own=parts.own)
        self._raw = self._raw_tap()
        self._overload = (
            OverloadReduction(parts.overload, parts.level, clock=parts.clock)
            if parts.overload
            else None
        )
        self._overflow = self._overflow_of_parts()
        self._recorder = self._recorder_of_parts()

    def run(self) -> None:
        """Record until the ring is finished and empty.

        Raises
        ------
        StorageError
            If the frames cannot be written.
        """
        self._recorder.run()

    def close(self, *, reason: str) -> None:
        """Commit what there is, and close the run.

        Raises
        ------
        StorageError
            If that cannot be done.
        """
        self._filler.close(reason=reason)
        if self._raw:
            self._raw.close(reason=reason)
        self._closed = True

    def end(self) -> None:
        """Wait for the storage no longer than patience allows, from now on."""
        self._blocks.end()
        if self._raw:
            self._raw.end()

    def give_way(self, gives_way: bool) -> None:
        """Begin no block as long as others come first."""
        self._blocks.hold(gives_way)

    def abandon(self) -> None:
        """End without committing anything more; does nothing to a closed run."""
        self._blocks.abandon()
        if self._raw:
            self._raw.abandon()

    def release(self) -> None:
        """Give the memory for frames back; for when no thread works with it any more."""
        self._parts.ring.memory.release()
        if self._parts.own:
            self._parts.own.release()
        if self._raw:
            self._raw.release()

    @contextlib.contextmanager
    def flushing(self) -> Iterator[None]:
        """Flush the journals in time, within the block; remove them if the run is closed by then."""
        with contextlib.ExitStack() as flushed:
            flushed.callback(self._remove_copies)
            for journal in self._journals():
                flushed.callback(journal.close)
                flushed.enter_context(
                    GroupCommit(journal, clock=self._parts.clock, on_thread=self._on_thread)
                )
            yield

    def ask_to_reduce(self, level: int, seconds: float) -> bool:
        """Have frames reduced for some time, though there is room; False if no steps are declared."""
        if self._overload is None:
            return False
        self._overload.ask(level, seconds)
        return True

    @property
    def failure(self) -> BaseException | None:
        """What kept frames from being written, if anything did."""
        failure = self._parts.run.committer.failure or self._blocks.failure
        return failure or (self._raw.failure if self._raw else None)

    @property
    def not_ready(self) -> StorageNotReadyError | None:
        """Why the storage takes nothing now, if that is waited for."""
        return self._blocks.not_ready or (self._raw.not_ready if self._raw else None)

    @property
    def full_block_waits(self) -> bool:
        """Whether a full block is not committed."""
        return self._blocks.full_block_waits

    @property
    def spilled_frames(self) -> int:
        """Frames that lie on the second path."""
        return 0 if self._overflow is None else self._overflow.frames

    def counts(self) -> tuple[int, int]:
        """Return how many frames are dropped, and how many the camera counted, wherever they are.

        Neither becomes less: what is in the recorder's hands just now was counted before.
        """
        account, ring, overflow = self._parts.run.account, self._parts.ring, self._overflow
        # From the end of their way to its beginning, so that nothing that moves counts twice.
        dropped, counted = account.dropped, account.counted
        lost = 0 if overflow is None else overflow.lost_waiting
        waiting = self.spilled_frames
        lost += ring.lost_waiting
        waiting += ring.waiting
        self._dropped = max(self._dropped, dropped + lost)
        self._counted = max(self._counted, counted + lost + waiting)
        return self._dropped, self._counted

    @property
    def flow(self) -> FlowState:
        """How frames get through behind the ring."""
        obstacle = self.not_ready
        if obstacle is not None:
            away = isinstance(obstacle, StorageAwayError)
            return FlowState.WAITING_FOR_STORAGE if away else FlowState.WAITING_FOR_SPACE
        if self._overflow is not None and len(self._overflow):
            return FlowState.SPILLING
        if self._overload and self._overload.applied:
            return FlowState.REDUCING
        return FlowState.GIVING_WAY if self._blocks.held else FlowState.NORMAL

    def _remove_copies(self) -> None:
        """Remove what was only kept until it was committed."""
        if not self._closed:
            return
        if self._parts.journal is not None:
            self._parts.journal.remove()
        if self._overflow is not None:
            self._overflow.remove()
        remove_leftovers(Path(self._parts.run.storage.where), self._parts.left)

    def _committed(self, flights: list[Flight]) -> None:
        """Let go of what committed blocks needed."""
        parts, now = self._parts, self._parts.clock.monotonic()
        for flight in flights:
            self.latency.record_many(now - np.array(flight.arrived))
        last = flights[-1].block
        if parts.journal is not None:
            parts.journal.free_through(last.last_counter)
        if self._overflow is not None:
            self._overflow.free_through(last.last_counter)
        self._on_commit(last.number + 1)

    def _blocks_of(
        self, run: WritableRun, *, on_commit: Callable[[list[Flight]], None]
    ) -> BlocksInFlight:
        return BlocksInFlight(
            run,
            most=self._parts.settings.blocks_in_flight,
            on_stored=lambda flight: self._parts.ring.free(flight.slots),
            on_commit=on_commit,
            # Whoever waits for frames, or for room for them, need not wait any more.
            on_failure=self._parts.ring.finish,
            on_full=self._give_back_spares,
            clock=self._parts.clock,
            patience=self._patience,
            on_thread=self._on_thread,
        )

    def _give_back_spares(self) -> None:
        for journal in self._journals():
            journal.give_back_spares()

    def _raw_tap(self) -> RawTap | None:
        raw, own = self._parts.raw, self._parts.raw_own
        every = self._parts.settings.reduction.keep_raw_every
        if raw is None or own is None or every is None:
            return None
        return RawTap(raw, self._blocks_of(raw, on_commit=_nothing), own=own, every=every)

    def _overflow_of_parts(self) -> SpillOverflow | None:
        parts = self._parts
        if parts.spill is None:
            return None
        return SpillOverflow(
            parts.spill,
            parts.level,
            mark=parts.settings.low_watermark,
            on_damage=lambda: parts.run.account.explain_gap(DAMAGED_SPILL),
            clock=parts.clock,
        )

    def _recorder_of_parts(self) -> Recorder:
        parts = self._parts
        kept = None
        if parts.journal is not None:
            size = parts.run.layout.geometry.frame_bytes
            kept = Journalling(parts.journal, self._blocks, frame_bytes=size, clock=parts.clock)
        return Recorder(
            parts.ring,
            self._blocks,
            self._filler,
            taps=[self._raw] if self._raw else [],
            reduction=parts.reduction,
            steps=[step for step in (self._overload, kept) if step is not None],
            overflow=self._overflow,
            ready=kept.has_room if kept else None,
            on_lost=kept.lose if kept else None,
            recovered=parts.recovered,
            clock=parts.clock,
        )

    def _journals(self) -> Iterator[FrameJournal]:
        if self._parts.journal is not None:
            yield self._parts.journal
        if self._parts.spill is not None:
            yield self._parts.spill.journal


def _nothing(_: list[Flight]) -> None:
    """Do nothing: nobody waits for this."""
