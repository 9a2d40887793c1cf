"""Blocks in flight: each is written by a thread of its own, and one commits them in order."""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from forebay.acquisition import durable
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import NoSpaceError, StorageError, StorageNotReadyError
from forebay.acquisition.format.record import Block
from forebay.acquisition.run.writing.block import BlockInFlight
from forebay.acquisition.run.writing.writable import WritableRun

_REWRITES = 2
"""Times that a block is written anew, into new files, when the storage reports an error."""
_TRY_AGAIN_SECONDS = 0.5


@dataclass(slots=True)
class Flight:
    """A block in flight, and what must be done when it is there."""

    block: BlockInFlight
    """The block."""
    slots: list[int] = field(default_factory=list)
    """Slots of the ring that are free when it is durable."""
    arrived: list[float] = field(default_factory=list)
    """When its frames came, on the monotonic clock."""
    stored: Future[Block] = field(default_factory=Future)
    """Its record, when its objects are durable."""
    writer: threading.Thread | None = None
    """The thread that writes it."""


class BlocksInFlight:
    """Writes blocks side by side, commits them in order, and never holds more than a few.

    Parameters
    ----------
    run
        The run.
    most
        Blocks that may be in flight, the one that is being filled included.
    on_stored
        Called from any thread when a block is durable, and its frames need not stay in memory.
    on_commit
        Called from the committing thread when blocks are committed.
    on_failure
        Called, from any thread, when nothing can be written any more.
    on_full
        Called, from any thread, before it is waited for room on the storage.
    clock
        Source of times.
    patience
        Seconds to wait for room on the storage, or its answer, once `end` was called.
    on_thread
        Called at the start of each thread, in it, with what it does: ``writer``, ``commit``, or
        ``show``.
    """

    def __init__(
        self,
        run: WritableRun,
        *,
        most: int,
        on_stored: Callable[[Flight], None],
        on_commit: Callable[[list[Flight]], None],
        on_failure: Callable[[], None],
        on_full: Callable[[], None],
        clock: Clock,
        patience: float,
        on_thread: Callable[[str], None],
    ) -> None:
        self._run = run
        self._most = most
        self._on_stored = on_stored
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._on_full = on_full
        self._clock = clock
        self._patience = patience
        self._next_number = run.blocks
        self._flights: deque[Flight] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._no_more_commits = False
        self._ended_at = float("inf")
        self.failure: BaseException | None = None
        """What ended the writing, if anything did."""
        self._not_ready: dict[int, StorageNotReadyError] = {}
        self.held = False
        """Whether no further block may be begun, since others come first."""
        self._on_thread = on_thread
        # Daemons, so that a storage that never comes back does not keep the process.
        self._committer = threading.Thread(
            target=self._commit_all, name="forebay-commit", daemon=True
        )
        self._shower = threading.Thread(target=self._show_all, name="forebay-show", daemon=True)
        self._committer.start()
        self._shower.start()

    def now(self) -> float:
        """Return the monotonic time."""
        return self._clock.monotonic()

    @property
    def in_flight(self) -> int:
        """Number of blocks that are not committed."""
        return len(self._flights)

    @property
    def full_block_waits(self) -> bool:
        """Whether a block that has all its frames is not committed."""
        try:
            return self._flights[0].block.full
        except IndexError:
            return False

    @property
    def not_ready(self) -> StorageNotReadyError | None:
        """Why the storage takes nothing now, if somebody waits for it."""
        return next(iter([*self._not_ready.values()]), None)

    @property
    def has_room(self) -> bool:
        """Whether a block can be begun without waiting."""
        return not self.held and len(self._flights) < self._most

    def hold(self, held: bool) -> None:
        """Say whether no further block may be begun until this is called again."""
        if held != self.held:
            with self._changed:
                self.held = held
                self._changed.notify_all()

    def wait_for_room(self, seconds: float) -> None:
        """Wait until a block can be begun, or so many seconds.

        Raises
        ------
        StorageError
            If the writing has ended with an error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.has_room or self.failure, seconds)
            self._check()

    def wait_for_commit(self, seconds: float = _TRY_AGAIN_SECONDS) -> None:
        """Wait until a block is committed, or so many seconds.

        Raises
        ------
        StorageError
            If the writing has ended with an error.
        """
        with self._changed:
            committed = self._run.committer.frames
            self._changed.wait_for(
                lambda: self._run.committer.frames > committed or self.failure, seconds
            )
            self._check()

    def wait_for_next(self) -> int:
        """Wait until the next block can be begun; return its number.

        Raises
        ------
        StorageError
            If the writing has ended with an error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.has_room or self.failure)
            self._check()
            return self._next_number

    def begin(self) -> Flight:
        """Begin the next block, when there are not too many.

        Raises
        ------
        StorageError
            If the writing has ended with an error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.has_room or self.failure)
            self._check()
            flight = Flight(BlockInFlight(self._run.layout, self._next_number))
            self._next_number += 1
            flight.writer = threading.Thread(
                target=self._write, args=(flight,), name="forebay-writer", daemon=True
            )
            flight.writer.start()
            self._flights.append(flight)
        return flight

    def seal(self, flight: Flight) -> None:
        """Say that a block has all its frames."""
        flight.block.seal(self._run.account.cut())

    def end(self) -> None:
        """Wait for the storage no longer than patience allows, from now on."""
        self._ended_at = min(self._ended_at, self._clock.monotonic())

    def close(self, last: Flight | None, *, reason: str) -> None:
        """Commit all blocks, the last one of which may be a short one, and close the run.

        Raises
        ------
        BaseException
            What ended the writing, if anything did.
        """
        if last is not None:
            self.seal(last)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._join()
        try:
            if self.failure is not None:
                raise self.failure
            block = last.stored.result() if last else None
            self.until_ready(lambda: self._run.close(block, reason=reason))
            if last:
                self._on_commit([last])
        except BaseException as failure:
            self._fail(failure)
            self._let_go()
            raise
        self._let_go()

    def abandon(self) -> None:
        """End without committing anything more."""
        self._fail(StorageError("the writing was given up"))
        self._let_go()

    def _let_go(self) -> None:
        """Let go of the run, when all threads have ended."""
        self._join()
        for flight in self._flights:
            if flight.writer is not None:
                flight.writer.join()
        # What is not committed by now needs its frames no more.
        self._flights.clear()
        self._run.abandon()

    def _join(self) -> None:
        """Wait for the thread that commits; what it has committed is shown until it ends."""
        self._committer.join()
        with self._changed:
            self._no_more_commits = True
            self._changed.notify_all()
        self._shower.join()

    def _commit_all(self) -> None:
        """Commit blocks in their order; runs in its own thread."""
        try:
            self._on_thread("commit")
            while flights := self._next_stored():
                self._commit(flights)
        except BaseException as failure:  # noqa: BLE001 (raised again by who closes)
            self._fail(failure)

    def _commit(self, flights: list[Flight]) -> None:
        blocks = [flight.stored.result() for flight in flights]
        self.until_ready(lambda: self._run.commit(blocks))
        with self._changed:
            for _ in flights:
                self._flights.popleft()
            self._changed.notify_all()
        for flight in flights:
            # They have said that they are done; this is their last line.
            if flight.writer is not None:
                flight.writer.join()
        self._on_commit(flights)

    def _next_stored(self) -> list[Flight]:
        """Wait for the next blocks that are durable; return none at the end, or after a failure.

        Whole blocks only: a short one is committed by closing the run.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready() or self._done())
            return self._ready() if self.failure is None else []

    def _show_all(self) -> None:
        """Show what is committed from time to time; runs in its own thread.

        That takes as long as a commit, and no commit is to wait for it.
        """
        try:
            self._on_thread("show")
            while self._wait_to_show():
                self._run.show()
        except BaseException as failure:  # noqa: BLE001 (raised again by who closes)
            self._fail(failure)

    def _wait_to_show(self) -> bool:
        """Wait until something is to be shown; False at the end, when closing shows it."""
        with self._changed:
            while not self._no_more_commits and self.failure is None:
                seconds = self._run.committer.seconds_to_show
                if seconds == 0:
                    return True
                self._changed.wait(seconds)
            return False

    def _check(self) -> None:
        if self.failure is not None:
            raise StorageError("the writing has ended") from self.failure

    def _done(self) -> bool:
        left = self._closing and not any(flight.block.full for flight in self._flights)
        return left or self.failure is not None

    def _ready(self) -> list[Flight]:
        stored = itertools.takewhile(
            lambda flight: flight.block.full and flight.stored.done(), self._flights
        )
        return list(stored)

    def _write(self, flight: Flight) -> None:
        """Write a block; runs in a thread of its own."""
        try:
            self._on_thread("writer")
            stored = self._store(flight.block)
            self._on_stored(flight)
            flight.stored.set_result(stored)
        except BaseException as failure:  # noqa: BLE001 (raised again by who closes)
            # Whoever waits for the block is not to find a reason of its own first.
            self._fail(failure)
            flight.stored.set_exception(failure)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _store(self, block: BlockInFlight) -> Block:
        """Write a block; runs in one of the writers' threads."""

        def store() -> Block:
            try:
                return block.store(self._run.storage)
            except OSError:
                # Others were committed while it was filled.
                what = (
                    f"block {block.number} of {self._run.storage.where} (the "
                    f"{self._run.committer.frames} frames before it stay readable)"
                )
                with durable.storage_errors(what):
                    raise

        for _ in range(_REWRITES):
            try:
                return self.until_ready(store)
            except StorageNotReadyError:
                raise
            except StorageError:
                if self.failure is not None:
                    raise
                # A flush that failed is not tried again on the same file; the frames are still in
                # memory, and a new file may find a better place.
        return self.until_ready(store)

    def until_ready[T](self, write: Callable[[], T]) -> T:
        """Write, again and again as long as the storage is full or does not answer.

        Raises
        ------
        StorageNotReadyError
            If nothing is to be waited for any more.
        """
        me, since = threading.get_ident(), None
        try:
            while True:
                try:
                    return write()
                except StorageNotReadyError as error:
                    self._not_ready[me] = error
                    since = self._clock.monotonic() if since is None else since
                    if isinstance(error, NoSpaceError):
                        self._on_full()
                    if not self._wait_for_storage(since):
                        raise
        finally:
            self._not_ready.pop(me, None)

    def _wait_for_storage(self, since: float) -> bool:
        """Wait a little; False when nothing is to be waited for any more.

        Parameters
        ----------
        since
            When it was first seen that the storage takes nothing.
        """
        # No storage tells that it has room again, or answers, so it is tried.
        with self._changed:
            self._changed.wait_for(lambda: self.failure, _TRY_AGAIN_SECONDS)
        deadline = max(since, self._ended_at) + self._patience
        return self.failure is None and self._clock.monotonic() < deadline

    def _fail(self, failure: BaseException) -> None:
        with self._changed:
            if self.failure is None:
                self.failure = failure
            for flight in self._flights:
                flight.block.give_up()
            self._changed.notify_all()
        self._on_failure()
