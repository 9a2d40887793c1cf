"""What the logs of a run say: its blocks, what was dropped, and whether it is closed."""

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.block_row import BlockRow
from forebay.acquisition.format.growing import Growing
from forebay.acquisition.format.layout import LOG, RunLayout
from forebay.acquisition.format.logs import (
    Logs,
    RowPart,
    find_logs,
    log_key,
    read_row,
    read_row_from,
    row_key,
    row_object_key,
)
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Created,
    Dropped,
    Noted,
    Opened,
    Record,
    Started,
    decode_line,
    line_digest,
)

CHAIN_START = ""
"""What the first line of a run's first log names as the line before it."""
_OPENING_BYTES = 2**16
"""More than the first line of a log has."""
_EMPTY_LOOKS = 4
"""Looks in a row that find nothing new, after which it is asked whether an object was lost."""


@dataclass(slots=True)
class History:
    """The records of a run, replayed in order."""

    layout: RunLayout | None = None
    """What never changes about the run."""
    epoch: int = 0
    """The last writer's number; 0 before the first one."""
    first_counter: int | None = None
    """The camera's counter at the first frame that was taken or dropped."""
    blocks: BlockRow = field(default_factory=BlockRow)
    """The committed blocks."""
    notes: Growing[Noted] = field(default_factory=Growing)
    """What happened and what was said, in order."""
    closed: Closed | None = None
    """The last record of a closed run."""
    log_bytes: int = 0
    """Length of the last log's valid part."""
    torn_bytes: int = 0
    """Bytes behind it that are no record: the line that a writer was at when it died."""
    last_digest: str = CHAIN_START
    """Digest of the last valid line."""
    log_objects: int | None = None
    """Objects in which the last log lies; None where it is a file."""
    empty_looks: int = field(default=0, compare=False)
    """How often in a row nothing has come to such objects."""

    @property
    def last_log(self) -> str:
        """Key of the last log, or the prefix of its objects."""
        return log_key(self.epoch) if self.log_objects is None else row_key(self.epoch)

    @property
    def frames(self) -> int:
        """Number of committed frames."""
        return self.blocks.frames

    @property
    def dropped(self) -> list[Dropped]:
        """Everything that was dropped, in order."""
        last = self.closed.dropped if self.closed else ()
        return [*self.blocks.dropped, *last]

    def apply(self, record: Record, *, where: str) -> None:
        """Take the next record in.

        Raises
        ------
        RunDamagedError
            If it cannot follow what was there.
        """
        if self.closed:
            raise RunDamagedError(f"{where}: a record follows the end of the run")
        if isinstance(record, Created):
            if self.layout:
                raise RunDamagedError(f"{where}: the run is made for a second time")
            self.layout = RunLayout.from_attributes(record.attributes, where=where)
            self.blocks = BlockRow(self.layout)
            return
        if self.layout is None:
            raise RunDamagedError(f"{where}: the record that makes the run is missing")
        match record:
            case Opened():
                if record.epoch != self.epoch + 1 or record.run_id != self.layout.run_id:
                    raise RunDamagedError(f"{where}: the writer's record belongs to another log")
                self.epoch = record.epoch
            case Started():
                self.first_counter = record.counter
            case Noted():
                self.notes.append(record)
            case Block():
                self._add(record, shortest=self.layout.frames_per_block, where=where)
            case Closed():
                if record.block:
                    self._add(record.block, shortest=1, where=where)
                self.closed = record

    def _add(self, block: Block, *, shortest: int, where: str) -> None:
        if len(block.extent) < shortest:
            raise RunDamagedError(f"{where}: block {block.number} is out of its place")
        try:
            self.blocks.append(block)
        except (TypeError, ValueError) as error:
            raise RunDamagedError(f"{where}: {error}") from error


type OnRead = Callable[[int, int], object]
"""Told how many bytes of the logs were read, and how many there are."""


def replay(
    objects: Objects, since: History | None = None, *, on_read: OnRead | None = None
) -> History:
    """Read the logs of a run, or what has come to them since they were last read.

    A log counts up to the length at which the next writer sealed it, the last one up to its last
    valid line; what a dying writer left behind that is not looked at.  An object of a row is there
    whole or not at all, so in a bucket every line must be valid.

    Raises
    ------
    RunDamagedError
        If a log is missing, or a line within one has changed.
    """
    if since and since.log_objects is not None:
        return _continue_rows(objects, since)
    logs = find_logs(objects)
    if since and since.epoch == logs.epochs:
        return _continue(objects, since)
    if since and since.epoch and not logs.in_rows:
        # What cannot go on from there is read anew, which tells what is wrong.
        with contextlib.suppress(RunDamagedError):
            return _continue_files(logs, since)
    history = _replay_rows(logs) if logs.in_rows else _replay_files(logs, on_read)
    if since and not history.blocks.starts_with(since.blocks):
        raise RunDamagedError(
            f"{objects.where(LOG)}: a block that was seen before was not kept: the storage lost "
            "what it had been given; open the run again"
        )
    return history


def _replay_files(logs: Logs, on_read: OnRead | None) -> History:
    """Replay logs that are files, of which one may be larger than the memory."""
    history, objects = History(), logs.objects
    epochs = range(1, logs.epochs + 1)
    progress = _Progress(sum(objects.size(log_key(each)) or 0 for each in epochs), on_read)
    for epoch in epochs:
        sealed, key = _sealed_by_next(logs, epoch), log_key(epoch)
        length = (objects.size(key) or 0) if sealed is None else sealed
        pieces = progress.over(objects.read_in_pieces(key, length))
        _replay_next(history, logs, pieces, sealed, epoch)
    return history


def _sealed_by_next(logs: Logs, epoch: int) -> int | None:
    """Return the length at which the next writer sealed a log; None where there is none."""
    if epoch == logs.epochs:
        return None
    first = b"".join(logs.objects.read_in_pieces(log_key(epoch + 1), _OPENING_BYTES))
    return _sealed_bytes(first, where=logs.where(epoch + 1))


class _Progress:
    """Tells how far the logs are read."""

    def __init__(self, total: int, on_read: OnRead | None) -> None:
        self._total = total
        self._on_read = on_read
        self._read = 0

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces of a log, and tell of each once something is done with it."""
        for piece in pieces:
            yield piece
            self._read += len(piece)
            if self._on_read is not None:
                self._on_read(self._read, self._total)


def _replay_rows(logs: Logs) -> History:
    rows = [read_row(logs.objects, epoch) for epoch in range(1, logs.epochs + 1)]
    history = History()
    for epoch, row in enumerate(rows, start=1):
        sealed = None
        if epoch < len(rows):
            sealed = _sealed_bytes(rows[epoch].content, where=logs.where(epoch + 1))
        _replay_next(history, logs, [row.content[:sealed]], sealed, epoch)
    _check_whole(history, where=logs.where(logs.epochs))
    history.log_objects = rows[-1].objects
    return history


def _replay_next(
    history: History, logs: Logs, pieces: Iterable[bytes], sealed: int | None, epoch: int
) -> None:
    where = logs.where(epoch)
    _replay_log(history, pieces, sealed, where=where)
    if history.epoch != epoch:
        raise RunDamagedError(f"{where}: its writer's record is missing; restore the log")


def _continue(objects: Objects, since: History) -> History:
    key = log_key(since.epoch)
    history = replace(since, blocks=since.blocks.onward(), notes=since.notes.onward())
    added = objects.read_from(key, since.log_bytes)
    _replay_log(history, [added], None, where=objects.where(key))
    history.log_bytes += since.log_bytes
    return history


def _continue_files(logs: Logs, since: History) -> History:
    """Read on where other writers have come: nobody reads a log of weeks again for that."""
    history = replace(since, blocks=since.blocks.onward(), notes=since.notes.onward())
    for epoch in range(since.epoch, logs.epochs + 1):
        start = since.log_bytes if epoch == since.epoch else 0
        sealed = _sealed_by_next(logs, epoch)
        added = logs.objects.read_from(log_key(epoch), start)
        if sealed is not None:
            added, sealed = added[: max(0, sealed - start)], sealed - start
        _replay_next(history, logs, [added], sealed, epoch)
        history.log_bytes += start
    return history


def _continue_rows(objects: Objects, since: History) -> History:
    history = replace(since, blocks=since.blocks.onward(), notes=since.notes.onward())
    row = _continue_row(objects, history, history.epoch, since.log_objects or 0)
    while row.sealed and (following := objects.read(row_object_key(history.epoch + 1, 0))):
        epoch = history.epoch + 1
        where = objects.where(row_key(epoch))
        if _sealed_bytes(following, where=where) != history.log_bytes:
            raise RunDamagedError(
                f"{where} seals another log than the one that was read before: the storage lost "
                "what it had been given; open the run again"
            )
        history.log_bytes = history.log_objects = 0
        row = _continue_row(objects, history, epoch, 0)
    history.empty_looks = 0 if history.log_objects != since.log_objects else since.empty_looks + 1
    if history.empty_looks and history.empty_looks % _EMPTY_LOOKS == 0:
        _check_end(objects, history)
    return history


def _check_end(objects: Objects, history: History) -> None:
    """Refuse the end of a row that has something behind it: no writer leaves a place out.

    Where the last objects of a log were lost, the next writer seals it before the place that a
    follower looks at.
    """
    number = history.log_objects or 0
    key = row_object_key(history.epoch, number)
    behind = (row_object_key(history.epoch, number + 1), row_object_key(history.epoch + 1, 0))
    if not any(objects.read(each) for each in behind):
        return
    # It may have come since it was looked for.
    if objects.read(key) is None:
        raise RunDamagedError(
            f"{objects.where(key)} is missing, and others have come behind it: the storage lost "
            "what it had been given; open the run again"
        )


def _continue_row(objects: Objects, history: History, epoch: int, number: int) -> RowPart:
    """Read what has come to a row behind the objects that were read before."""
    row = read_row_from(objects, epoch, number)
    where, before = objects.where(row_key(epoch)), history.log_bytes
    _replay_log(history, [row.content], None, where=where)
    _check_whole(history, where=where)
    history.log_bytes += before
    history.log_objects = number + row.objects
    return row


def _check_whole(history: History, *, where: str) -> None:
    if history.torn_bytes:
        raise RunDamagedError(
            f"{where} ends in {history.torn_bytes} bytes that are no record: restore its last "
            "object from a copy"
        )


def _sealed_bytes(following: bytes, *, where: str) -> int:
    """Return the length at which the log `following` seals the one before it."""
    line = following[: following.find(b"\n") + 1]
    # The chain is checked when the following log is replayed; here only the length is wanted.
    record = decode_line(line, previous=None, where=where)
    if not isinstance(record, Opened):
        raise RunDamagedError(f"{where}: line 1 is damaged: restore the log from a copy")
    return operator.index(record.sealed_bytes)


def _replay_log(
    history: History, pieces: Iterable[bytes], sealed: int | None, *, where: str
) -> None:
    """Take in the records of a log, whose bytes come in pieces.

    Parameters
    ----------
    history
        What comes before.
    pieces
        The log, as far as it counts.
    sealed
        The length at which the next writer sealed it; None where there is none.
    where
        Its name, for messages.
    """
    valid = number = 0
    rest = b""
    coming = iter(pieces)
    for piece in coming:
        body, begin = rest + piece, 0
        while end := body.find(b"\n", begin) + 1:
            line, number = body[begin:end], number + 1
            at = f"{where}: line {number}"
            record = decode_line(line, previous=history.last_digest, where=at)
            if record is None:
                if behind := len(body) - end + sum(map(len, coming)):
                    raise RunDamagedError(
                        f"{at} is damaged, and {behind} bytes follow it: restore the log from a copy"
                    )
                break
            history.apply(record, where=at)
            history.last_digest = line_digest(line)
            begin = end
        valid, rest = valid + begin, body[begin:]
    if sealed is not None and valid != sealed:
        raise RunDamagedError(
            f"{where} has {valid} bytes that can be read; the next writer sealed it at {sealed}: "
            "restore the log from a copy"
        )
    history.log_bytes = valid
    history.torn_bytes = len(rest)
