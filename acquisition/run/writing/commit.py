"""The commit: objects get their names, one flush of the log makes them the run's, then they show."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forebay.acquisition import durable
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import (
    NoteError,
    RunTakenOverError,
    StorageAwayError,
    StorageError,
    StorageNotReadyError,
)
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Noted,
    Record,
    Started,
    encode_line,
    line_digest,
)
from forebay.acquisition.run.writing.folder import documents
from forebay.acquisition.run.writing.position import Position
from forebay.acquisition.storage.storage import RunStorage

_NOT_READY_SECONDS = 1.0
"""Time until it is tried again to show something, where the storage did not take it."""

_log = logging.getLogger("forebay.acquisition")


@dataclass(frozen=True, slots=True)
class _Sent:
    """Lines for the log, as they follow those that are in it."""

    records: tuple[Record, ...]
    """What they say."""
    lines: bytes
    """The lines."""
    digest: str
    """Digest of the last one."""


class Committer:
    """Adds to a run's log, in the order in which it is asked; may be used by several threads.

    Parameters
    ----------
    storage
        Where the run lies.
    run
        What its blocks have in common.
    at
        How far it has come.
    clock
        Source of times.
    show_every
        Seconds between two times that the arrays of a growing run are shown to readers that know
        nothing of the log; 0 to show each commit at once.
    """

    def __init__(
        self,
        storage: RunStorage,
        run: RunLayout,
        at: Position,
        clock: Clock,
        *,
        show_every: float = 0.0,
    ) -> None:
        self._storage = storage
        self._run = run
        self._at = at
        self._clock = clock
        self._show_every = show_every
        self._shown = at.frames
        self._show_next = clock.monotonic() + show_every
        self._not_ready = False
        self._started: Started | None = None
        self._start_written = False
        self._unanswered: _Sent | None = None
        """What may be in the log or not, since the storage has not answered."""
        self._lock = threading.Lock()
        self._showing = threading.Lock()
        self._failed = False
        self.failure: BaseException | None = None
        """What kept something from being added, so that nothing can be any more."""
        self.stored_bytes = 0
        """Bytes of the objects that this writer has committed."""

    @property
    def storage(self) -> RunStorage:
        """Where the run lies."""
        return self._storage

    @property
    def frames(self) -> int:
        """Number of committed frames."""
        return self._at.frames

    @property
    def failed(self) -> bool:
        """Whether nothing can be added any more."""
        return self._failed

    def start(self, counter: int) -> None:
        """Write down that the camera began to count, unless that is written down."""
        if self._start_written:
            return
        with self._changing(f"the start of {self._storage.where}"):
            # Where it is tried again it is the same.
            self._started = self._started or Started(counter, self._clock.time_ns())
            self._append([self._started])
        self._start_written = True

    def note(self, topic: str, text: str, *, counter: int | None) -> Noted:
        """Write down what happened or was said; durable when this returns."""
        if not all(isinstance(each, str) for each in (topic, text)):
            raise NoteError(f"a note is a topic and a text, and not {topic!r} and {text!r}")
        noted = Noted(topic, text, counter, self._clock.time_ns())
        if self._run.format_version < 2:
            raise StorageError(
                f"{self._storage.where} is a run of format {self._run.format_version}, which "
                "keeps no notes: start another run for them"
            )
        with self._changing(f"a note in {self._storage.where}"):
            self._append([noted])
        return noted

    def commit(self, blocks: Sequence[Block]) -> None:
        """Commit blocks that follow the last one, whose objects are durable and have no names.

        Readers that know nothing of the log see them from the next `show` on.

        Raises
        ------
        NoSpaceError
            If there is no room; nothing is committed, and it can be tried again.
        StorageAwayError
            If the storage does not answer; it is to be tried again with the same blocks.
        StorageError
            If they cannot be committed; the writer is done.
        """
        first = blocks[0]
        what = (
            f"block {first.number} of {self._storage.where} "
            f"(the {first.extent.start} frames before it stay readable)"
        )
        with self._changing(what):
            self._publish(blocks)
            self._append(blocks)
            self._add(blocks)

    def close(self, closed: Closed) -> None:
        """Write the last record, and commit the short block that it may hold."""
        blocks = [closed.block] if closed.block else []
        with self._changing(f"the end of {self._storage.where}"):
            self._publish(blocks)
            self._append([closed])
            self._add(blocks)
            with self._showing:
                self._show_if_ready()
        self._failed = True

    @property
    def seconds_to_show(self) -> float | None:
        """Time until committed frames are due to be shown; None where all are."""
        if self._shown == self._at.frames or self._failed:
            return None
        return max(0.0, self._show_next - self._clock.monotonic())

    def show(self) -> None:
        """Show what is committed, if the time has come.

        Blocks may be committed meanwhile, by another thread: they are shown the next time.
        """
        what = f"the metadata of {self._storage.where}"
        with self._showing:
            if self.seconds_to_show == 0:
                with self._ending_unless_done(what):
                    self._show_if_ready()

    def abandon(self) -> None:
        """Add nothing any more."""
        self._failed = True

    @contextlib.contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        """End the writer unless the change is done whole, or can be begun anew.

        A write or a flush of the log that failed is not tried again: what the system then says of
        that file cannot be believed.  Resuming starts from what the log holds.
        """
        with self._lock, self._ending_unless_done(what):
            yield

    @contextlib.contextmanager
    def _ending_unless_done(self, what: str) -> Iterator[None]:
        if self._failed:
            raise StorageError(f"the writer of {self._storage.where} has ended; resume the run")
        self._check_not_superseded()
        try:
            with durable.storage_errors(what):
                yield
        except StorageNotReadyError:
            raise
        except BaseException as failure:
            self._failed = True
            self.failure = failure
            raise

    def _publish(self, blocks: Sequence[Block]) -> None:
        self._storage.publish([stored for block in blocks for stored in block.objects])

    def _append(self, records: Sequence[Record]) -> None:
        before = self._unanswered
        if before is not None and before.records != tuple(records):
            if not all(isinstance(each, Noted) for each in before.records):
                raise StorageAwayError(
                    f"cannot add to the log of {self._storage.where}: the storage has not answered "
                    "yet whether it has what was sent before; try again when it does"
                )
            # Nobody else sends a note again, and what comes now has to follow it.
            self._send(before)
        lines, digest = [], self._at.digest
        for record in records:
            lines.append(encode_line(record, previous=digest))
            digest = line_digest(lines[-1])
        self._send(_Sent(tuple(records), b"".join(lines), digest))

    def _send(self, sent: _Sent) -> None:
        try:
            self._storage.append(sent.lines)
        except StorageAwayError:
            self._unanswered = sent
            raise
        self._unanswered = None
        # A writer that was stopped in between has written behind the seal: that is void.
        self._check_not_superseded()
        self._at.digest = sent.digest

    def _check_not_superseded(self) -> None:
        if self._storage.superseded():
            self._failed = True
            raise RunTakenOverError(
                f"{self._storage.where} was taken over by another writer: what this one has not "
                "committed is lost"
            )

    def _add(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            stored = sum(each.bytes for each in block.objects)
            self._at.add(block)
            self.stored_bytes += stored
            _log.info(
                "block committed",
                extra={
                    "run": self._run.name,
                    "block": block.number,
                    "frames": len(block.extent),
                    "bytes": stored,
                },
            )

    def _show_if_ready(self) -> None:
        frames = self._at.frames
        try:
            self._storage.show(documents(self._run, frames))
        except OSError as error:
            if not (isinstance(error, StorageAwayError) or error.errno in durable.NO_SPACE):
                raise
            # The log has it, and a later time shows it: frames must not wait for this.
            if not self._not_ready:
                away = isinstance(error, StorageAwayError)
                _log.warning(
                    "what is committed cannot be shown, since the %s: readers see less until then",
                    "storage does not answer" if away else "disk has no room",
                    extra={"run": self._run.name},
                )
            self._not_ready = True
            pause = max(self._show_every, _NOT_READY_SECONDS)
        else:
            self._shown = frames
            self._not_ready = False
            pause = self._show_every
        self._show_next = self._clock.monotonic() + pause
