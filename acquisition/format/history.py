"""What the logs of a run say: its blocks, what was dropped, and whether it is closed."""

from dataclasses import dataclass, field, replace

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import LOG
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Dropped,
    Opened,
    Record,
    decode_line,
    line_digest,
)

CHAIN_START = ""
"""What the first line of a run's first log names as the line before it."""


@dataclass(slots=True)
class History:
    """The records of a run, replayed in order."""

    run_id: str = ""
    """The run that the logs belong to."""
    epoch: int = 0
    """The last writer's number; 0 before the first one."""
    opened: list[Opened] = field(default_factory=list)
    """The writers, in order."""
    blocks: list[Block] = field(default_factory=list)
    """The committed blocks."""
    closed: Closed | None = None
    """The last record of a closed run."""
    log_bytes: int = 0
    """Length of the last log's valid part."""
    torn_bytes: int = 0
    """Bytes behind it that are no record: the line that a writer was at when it died."""
    last_digest: str = CHAIN_START
    """Digest of the last valid line."""

    @property
    def frames(self) -> int:
        """Number of committed frames."""
        return self.blocks[-1].extent.stop if self.blocks else 0

    @property
    def dropped(self) -> list[Dropped]:
        """Everything that was dropped, in order."""
        last = self.closed.dropped if self.closed else ()
        return [each for block in self.blocks for each in block.dropped] + list(last)

    def apply(self, record: Record, *, where: str) -> None:
        """Take the next record in.

        Raises
        ------
        RunDamagedError
            If it cannot follow what was there.
        """
        match record:
            case _ if self.closed:
                raise RunDamagedError(f"{where}: a record follows the end of the run")
            case Opened():
                if record.epoch != self.epoch + 1 or (self.run_id not in {"", record.run_id}):
                    raise RunDamagedError(f"{where}: the writer's record belongs to another log")
                self.run_id, self.epoch = record.run_id, record.epoch
                self.opened.append(record)
            case Block():
                if record.number != len(self.blocks) or record.extent.start != self.frames:
                    raise RunDamagedError(f"{where}: block {record.number} is out of its place")
                self.blocks.append(record)
            case Closed():
                self.closed = record


def log_key(epoch: int) -> str:
    """Return the key of a writer's log."""
    return f"{LOG}/{epoch:08d}.log"


def replay(objects: Objects, since: History | None = None) -> History:
    """Read the logs of a run, or what has come to them since they were last read.

    A log counts up to the length at which the next writer sealed it, the last one up to its last
    valid line; what a dying writer left behind that is not looked at.

    Raises
    ------
    RunDamagedError
        If a log is missing, or a line within one has changed.
    """
    names = [name for name in objects.names(LOG) if name.endswith(".log")]
    expected = [log_key(epoch).rpartition("/")[2] for epoch in range(1, len(names) + 1)]
    if not names or names != expected:
        raise RunDamagedError(
            f"{objects.where(LOG)} holds the logs {', '.join(names) or 'none'}; expected an "
            "unbroken row from 00000001.log: restore the folder from a copy"
        )
    if since and since.epoch == len(names):
        key = log_key(since.epoch)
        history = replace(since, opened=[*since.opened], blocks=[*since.blocks])
        added = objects.read_from(key, since.log_bytes)
        _replay_log(history, added, None, where=objects.where(key))
        history.log_bytes += since.log_bytes
        return history
    history = History()
    contents = [objects.read(f"{LOG}/{name}") or b"" for name in names]
    for number, (name, content) in enumerate(zip(names, contents, strict=True), start=1):
        where = objects.where(f"{LOG}/{name}")
        sealed = _sealed_bytes(contents[number]) if number < len(contents) else None
        _replay_log(history, content, sealed, where=where)
    return history


def _sealed_bytes(following: bytes) -> int | None:
    """Return the length at which the log `following` seals the one before it, if it says."""
    line = following.partition(b"\n")[0] + b"\n"
    # The chain is checked when the following log is replayed; here only the length is wanted.
    text = line.partition(b" ")[2].rstrip(b"\n")
    previous = text.partition(b'"previous":"')[2].partition(b'"')[0].decode("ascii", "replace")
    record = decode_line(line, previous=previous) if text else None
    return record.sealed_bytes if isinstance(record, Opened) else None


def _replay_log(history: History, content: bytes, sealed: int | None, *, where: str) -> None:
    valid = 0
    body = content if sealed is None else content[:sealed]
    for number, line in enumerate(body.splitlines(keepends=True), start=1):
        record = decode_line(line, previous=history.last_digest)
        if record is None:
            behind = len(body) - valid - len(line)
            if behind or sealed is not None:
                raise RunDamagedError(
                    f"{where}: line {number} is damaged, and {behind} bytes follow it: "
                    "restore the log from a copy"
                )
            break
        history.apply(record, where=f"{where}: line {number}")
        history.last_digest = line_digest(line)
        valid += len(line)
    if sealed is not None and valid != sealed:
        raise RunDamagedError(
            f"{where} has {len(content)} bytes; the next writer sealed it at {sealed}: "
            "restore the log from a copy"
        )
    history.log_bytes = valid
    history.torn_bytes = len(body) - valid
