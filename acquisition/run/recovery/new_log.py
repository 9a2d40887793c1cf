"""The logs of a repaired run: the writers that it has had, and one that says everything else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forebay.acquisition.format.history import CHAIN_START
from forebay.acquisition.format.layout import JOURNAL, QUARANTINE
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.format.record import (
    Created,
    Opened,
    Record,
    encode_line,
    line_digest,
)
from forebay.acquisition.journal.folder import segments_of
from forebay.acquisition.run.lock import writer_name
from forebay.acquisition.run.recovery.old_log import OldLog

UNKNOWN_WRITER = "not known: its line could not be read"


def last_epoch(path: Path, old: OldLog) -> int:
    """Return the highest number that a writer of the run may have had, 0 where there is no sign."""
    quarantine = path / QUARANTINE
    names = [each.name for each in quarantine.iterdir()] if quarantine.is_dir() else []
    put_aside = [int(name) for name in names if name.isdecimal() and name.isascii()]
    return max([0, old.epochs, *old.opened, *segments_of(path / JOURNAL), *put_aside])


def new_logs(
    attributes: Mapping[str, Any],
    old: OldLog,
    records: Sequence[Record],
    *,
    epoch: int,
    now: int,
) -> dict[str, bytes]:
    """Return the content of every log of a repaired run, by key.

    No number of a writer is used twice, so each earlier writer keeps a log in which there is
    nothing but that it was there.

    Parameters
    ----------
    attributes
        What never changes about the run.
    old
        What its logs still say.
    records
        What is to follow in the last log.
    epoch
        Number of the last log.
    now
        The time, in nanoseconds since 1970-01-01 UTC.
    """
    logs: dict[str, bytes] = {}
    digest, sealed = CHAIN_START, 0
    for number in range(1, epoch + 1):
        said = old.opened.get(number)
        opened = Opened(
            run_id=attributes["run_id"],
            epoch=number,
            writer=said.writer if said else UNKNOWN_WRITER,
            at=said.at if said else now,
            sealed_bytes=sealed,
        )
        if number == epoch:
            opened = Opened(opened.run_id, epoch, f"repair by {writer_name()}", now, sealed)
        first: list[Record] = [Created(attributes)] if number == 1 else []
        rest = records if number == epoch else ()
        lines = []
        for record in (*first, opened, *rest):
            lines.append(encode_line(record, previous=digest))
            digest = line_digest(lines[-1])
        logs[log_key(number)] = b"".join(lines)
        sealed = len(logs[log_key(number)])
    return logs
