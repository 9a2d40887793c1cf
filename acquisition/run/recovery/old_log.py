"""What can still be read of the logs of a run, line by line, whatever has become of the others."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from forebay.acquisition.format.layout import LOG
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Created,
    Dropped,
    Opened,
    Record,
    Started,
    decode_line,
)

_LOG_NAME = re.compile(r"(\d{8,})\.log", flags=re.ASCII)


@dataclass(frozen=True)
class OldLog:
    """The lines of all logs of a run whose own checksum is right, in their order."""

    records: tuple[Record, ...]
    """What they say."""
    epochs: int
    """The highest number that a log has."""
    lines_lost: int
    """Lines that cannot be read, and beginnings of lines."""

    @cached_property
    def created(self) -> Created | None:
        """What never changes about the run."""
        return next((each for each in self.records if isinstance(each, Created)), None)

    @cached_property
    def opened(self) -> Mapping[int, Opened]:
        """The writers, by their numbers."""
        return {each.epoch: each for each in self.records if isinstance(each, Opened)}

    @cached_property
    def started(self) -> Started | None:
        """The beginning of the camera's count."""
        return next((each for each in self.records if isinstance(each, Started)), None)

    @cached_property
    def closed(self) -> Closed | None:
        """The end of the run."""
        return next((each for each in self.records if isinstance(each, Closed)), None)

    @cached_property
    def blocks(self) -> Mapping[int, list[Block]]:
        """Everything that was said of each block, the latest last."""
        found: dict[int, list[Block]] = {}
        for record in self.records:
            block = record.block if isinstance(record, Closed) else record
            if isinstance(block, Block):
                found.setdefault(block.number, []).append(block)
        return found

    @cached_property
    def dropped(self) -> list[Dropped]:
        """Everything that was dropped, by the order of the counters."""
        blocks = [block for said in self.blocks.values() for block in said]
        last = self.closed.dropped if self.closed else ()
        return sorted({each for block in blocks for each in block.dropped} | {*last}, key=_first)


def read_old_log(path: Path) -> OldLog:
    """Read what can be read of the logs of the run in a folder.

    What stands behind the length at which the next writer sealed a log is void, as ever.

    Raises
    ------
    RunDamagedError
        If a line is whole and means nothing that is known: a later forebay wrote it.
    """
    folder = path / LOG
    logs = {
        int(name[1]): log
        for log in (folder.iterdir() if folder.is_dir() else ())
        if (name := _LOG_NAME.fullmatch(log.name))
    }
    lines = {epoch: list(_lines(logs[epoch])) for epoch in sorted(logs)}
    records: list[Record] = []
    lost = 0
    for epoch, found in lines.items():
        sealed = _sealed_bytes(lines.get(epoch + 1, []), epoch + 1)
        counting = [record for end, record in found if sealed is None or end <= sealed]
        records += [record for record in counting if record]
        lost += counting.count(None)
    return OldLog(tuple(records), max(logs, default=0), lost)


def _lines(log: Path) -> Iterator[tuple[int, Record | None]]:
    """Yield for each line of a log where it ends, and its record if it can be read."""
    end = 0
    for number, line in enumerate(log.read_bytes().splitlines(keepends=True), start=1):
        end += len(line)
        yield end, decode_line(line, previous=None, where=f"{log}: line {number}")


def _sealed_bytes(following: list[tuple[int, Record | None]], epoch: int) -> int | None:
    """Return the length at which the writer of the log that follows sealed the one before."""
    for _, record in following:
        if isinstance(record, Opened) and record.epoch == epoch:
            return record.sealed_bytes
    return None


def _first(dropped: Dropped) -> int:
    return dropped.first
