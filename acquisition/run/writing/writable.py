"""A run in the hands of its one writer: its accounts, its log, and the lock on it."""

import contextlib
from collections.abc import Callable, Sequence
from typing import SupportsIndex

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import FrameError, StorageError
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import Block, Closed
from forebay.acquisition.run.writing.account import NOT_DELIVERED, Account
from forebay.acquisition.run.writing.commit import Committer
from forebay.acquisition.run.writing.position import Position
from forebay.acquisition.storage.storage import RunStorage


class WritableRun:
    """What every writer of a run does in the same way, however it brings the frames.

    Parameters
    ----------
    run
        What the blocks have in common.
    storage
        Where the run lies.
    at
        How far it has come.
    clock
        Source of times.
    gap
        Why counters are missing in front of the first frame to come.
    usual_gap
        Why they are missing between the others.
    release
        Lets go of the run, so that another writer may take it.
    show_every
        Seconds between two times that the arrays are shown while the run grows.
    """

    def __init__(
        self,
        run: RunLayout,
        storage: RunStorage,
        at: Position,
        clock: Clock,
        *,
        gap: str,
        usual_gap: str = NOT_DELIVERED,
        release: Callable[[], None],
        show_every: float = 0.0,
    ) -> None:
        self.layout = run
        """What the blocks have in common."""
        self.storage = storage
        """Where the run lies."""
        self.account = Account(at, gap=gap, usual_gap=usual_gap, now=clock.time_ns)
        """The counters that have come."""
        self.committer = Committer(storage, run, at, clock, show_every=show_every)
        """The log."""
        self.epoch = at.epoch
        """Number of this writer."""
        self.blocks = at.blocks
        """Blocks that were committed before this writer came."""
        self._clock = clock
        self._last: Closed | None = None
        self._release: Callable[[], None] | None = release

    def begin(self, counter: int) -> None:
        """Write down where the camera began to count, before the first frame is taken."""
        if self.account.first_counter is None:
            self.committer.start(counter)

    def take(self, counter: int, *, waited: float = 0.0) -> None:
        """Count a frame that came `waited` seconds ago, and those that it jumps over.

        Raises
        ------
        StorageError
            If the writer has ended.
        """
        self.check_alive()
        self.begin(counter)
        self.account.take(counter, counter, waited=waited)

    def drop(self, first: int, last: int, *, reason: str, at: int | None = None) -> None:
        """Write down that the frames with the counters from `first` to `last` are lost.

        Parameters
        ----------
        first, last
            The counters.
        reason
            Why.
        at
            When that was noticed, in nanoseconds since 1970-01-01 UTC; now if not given.

        Raises
        ------
        FrameError
            If the counters do not follow the last one that came.
        StorageError
            If the writer has ended.
        """
        self.check_alive()
        if not all(isinstance(each, SupportsIndex) for each in (first, last)):
            raise FrameError(f"cannot drop the frames {first!r} to {last!r}: give integers")
        if not isinstance(reason, str):
            raise FrameError(f"frames cannot be dropped for the reason {reason!r}: give a text")
        if first <= last and first >= 0 and last < 2**64:
            self.begin(first)
        self.account.drop(first, last, reason=reason, at=at)

    def commit(self, blocks: Sequence[Block]) -> None:
        """Commit blocks whose objects are durable."""
        self.committer.commit(blocks)

    def show(self) -> None:
        """Let readers that know only Zarr see what is committed, if the time has come."""
        self.committer.show()

    def note(self, topic: str, text: str) -> None:
        """Write down what happened or was said."""
        self.committer.note(topic, text, counter=self.account.next_counter)

    def close(self, block: Block | None, *, reason: str) -> None:
        """End the run, with the short block that is not committed yet, and let go of it.

        Where there is no room it can be tried again, with the same block.
        """
        if self._last is None:
            self._last = Closed(
                block=block,
                counted=self.account.counted,
                committed=block.extent.stop if block else self.committer.frames,
                dropped_count=self.account.dropped,
                dropped=self.account.cut(),
                reason=reason,
                at=self._clock.time_ns(),
            )
        self.committer.close(self._last)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the run as a kill would: unless it is closed, it can be resumed."""
        self.committer.abandon()
        if self._release is not None:
            release, self._release = self._release, None
            with contextlib.ExitStack() as both:
                both.callback(release)
                both.callback(self.storage.close)

    def check_alive(self) -> None:
        """Refuse to go on when the writer has ended.

        Raises
        ------
        StorageError
            If it has.
        """
        if self.committer.failed:
            raise StorageError(f"the writer of {self.storage.where} has ended; resume the run")
