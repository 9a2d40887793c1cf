"""Deciding what a run holds from what its logs still say and from its objects."""

import contextlib
import json
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import FRAMES, METADATA, RunLayout, shown_frames
from forebay.acquisition.format.record import (
    Block,
    Closed,
    Dropped,
    Extent,
    Noted,
    Record,
    Started,
)
from forebay.acquisition.run.recovery.missing import account_for, missing_before_each
from forebay.acquisition.run.recovery.old_log import OldLog
from forebay.acquisition.run.recovery.stored import StoredBlock, read_stored_block
from forebay.acquisition.run.recovery.uncommitted import stored_blocks

REASON_LOST = "not known: the line of the log that said why it is missing could not be read"
END_LOST = "not known: the line of the log that ended the run could not be read"


@dataclass
class Rebuilt:
    """What the new log of a run is to say, and what is to be moved for that."""

    records: list[Record] = field(default_factory=list)
    """The records, in order, behind the writer's own."""
    moves: list[tuple[str, str | None]] = field(default_factory=list)
    """Keys of objects and their new keys, in the order of moving; None is the quarantine."""
    kept: int = 0
    """Blocks whose line was read and agrees with their objects."""
    rebuilt: list[int] = field(default_factory=list)
    """Blocks whose line could not be read, and whose objects are sound."""
    damaged: list[str] = field(default_factory=list)
    """What is wrong with blocks that stay where they are: their line was read."""
    set_aside: list[str] = field(default_factory=list)
    """What is wrong with blocks that go to the quarantine."""
    lost: list[str] = field(default_factory=list)
    """What is wrong with committed blocks of which neither the line nor the objects can be read."""
    frames: int = 0
    """Frames that the records tell of."""


class Rebuilding:
    """Goes through the blocks of a run, in order, and decides about each.

    Nothing is changed; every object is read once.

    Parameters
    ----------
    path
        Folder of the run.
    run
        What its blocks have in common.
    old
        What its logs still say.
    set_aside
        Whether damaged blocks go to the quarantine, and those behind them take their places.
    now
        The time, in nanoseconds since 1970-01-01 UTC.
    """

    def __init__(
        self, path: Path, run: RunLayout, old: OldLog, *, set_aside: bool, now: int
    ) -> None:
        self._path = path
        self._run = run
        self._old = old
        self._set_aside = set_aside
        self._now = now
        self._said = old.blocks
        self._known = old.dropped
        self._blocks: list[tuple[int, Block]] = []
        """The blocks of the new log, each with the number that it had."""
        self._undecided: list[tuple[int, str]] = []
        """Blocks that cannot be used, which matters if one behind them can."""
        self._first = self._following = self._first_counter()
        self._result = Rebuilt()

    def rebuild(self) -> Rebuilt:
        """Decide."""
        stored = stored_blocks(self._path, self._run)
        last = self._last_number(stored)
        for number in range(last + 1):
            self._decide(number, is_last=number == last)
        self._give_up_what_was_shown(last)
        # What a writer that died had not committed must not be in the way of the next one.
        for number in sorted({*dict(self._undecided), *(each for each in stored if each > last)}):
            self._move_aside(number)
        self._result.frames = sum(len(block.extent) for _, block in self._blocks)
        self._result.records = self._records()
        return self._result

    def _decide(self, number: int, *, is_last: bool) -> None:
        said = self._said.get(number, [])
        stored, why = self._read(number)
        agreed = [block for block in said if stored and block.objects == stored.objects]
        if agreed:
            self._result.kept += 1
            self._add(number, agreed[-1])
        elif said:
            why = why or f"block {number} of {self._path} is not the one that was committed"
            self._take_damaged(number, said[-1], why)
        elif stored and self._may_follow(stored, is_last=is_last):
            self._result.rebuilt.append(number)
            self._add(number, self._new_record(stored))
        else:
            why = why or f"block {number} of {self._path} does not follow the one before it"
            self._undecided.append((number, why))

    def _read(self, number: int) -> tuple[StoredBlock | None, str]:
        try:
            return read_stored_block(self._path, self._run, number), ""
        except RunDamagedError as error:
            return None, str(error)

    def _may_follow(self, stored: StoredBlock, *, is_last: bool) -> bool:
        # A short block is stored by a writer that closes the run, and by no other.
        whole = len(stored) == self._run.frames_per_block
        closing = is_last and not self._old.closed
        following = self._following
        return (whole or closing) and (following is None or stored.frame_ids[0] >= following)

    def _new_record(self, stored: StoredBlock) -> Block:
        counters = [int(each) for each in stored.frame_ids]
        following = counters[0] if self._following is None else self._following
        dropped = missing_before_each(
            counters, following=following, known=self._known, reason=REASON_LOST, at=self._now
        )
        return stored.record(self._run, dropped)

    def _take_damaged(self, number: int, block: Block, why: str) -> None:
        if not self._set_aside:
            self._result.damaged.append(why)
            self._add(number, block)
            return
        self._give_up_undecided()
        self._result.set_aside.append(why)
        self._move_aside(number)
        if self._following is None:
            self._first = self._following = _begin(block)
        reason = f"it was in block {number}, which was damaged and was put into the quarantine"
        first, last = block.frame_ids
        between = account_for(first, last, known=self._known, reason=reason, at=self._now)
        self._known = sorted({*self._known, *between}, key=lambda each: each.first)

    def _add(self, number: int, block: Block) -> None:
        """Take a block into the new log, with what is missing before it."""
        self._give_up_undecided()
        begin = _begin(block)
        if self._following is None:
            self._first = self._following = begin
        before = self._missing(self._following, begin - 1)
        block = replace(block, dropped=(*before, *block.dropped))
        place = len(self._blocks)
        if place != number:
            block = self._renumbered(block, place)
        self._blocks.append((number, block))
        self._following = _end(block) + 1

    def _renumbered(self, block: Block, place: int) -> Block:
        keys = self._run.object_keys(place)
        self._result.moves += [
            (stored.key, key) for stored, key in zip(block.objects, keys, strict=True)
        ]
        start = place * self._run.frames_per_block
        return replace(
            block,
            number=place,
            extent=Extent(start, start + len(block.extent)),
            objects=tuple(
                replace(stored, key=key) for stored, key in zip(block.objects, keys, strict=True)
            ),
        )

    def _give_up_undecided(self) -> None:
        """Give up the blocks that cannot be used, for they were committed."""
        for number, why in self._undecided:
            if self._set_aside:
                self._result.set_aside.append(why)
                self._move_aside(number)
            else:
                self._result.lost.append(why)
        self._undecided = []

    def _give_up_what_was_shown(self, last: int) -> None:
        """Give up undecided blocks at the end that were committed, for readers were shown them."""
        shown = -(-_shown(self._path) // self._run.frames_per_block)
        if shown > last + 1:
            self._undecided.append((last + 1, f"nothing is there of block {last + 1} or behind it"))
        if any(number < shown for number, _ in self._undecided):
            self._give_up_undecided()

    def _move_aside(self, number: int) -> None:
        for key in self._run.object_keys(number):
            if (self._path / key).exists(follow_symlinks=False):
                self._result.moves.append((key, None))

    def _missing(self, first: int, last: int) -> list[Dropped]:
        return account_for(first, last, known=self._known, reason=REASON_LOST, at=self._now)

    def _last_number(self, stored: list[int]) -> int:
        """Return the number of the last block that may belong to the run, -1 where there is none."""
        closed = self._old.closed
        if closed is None:
            return max([*self._said, *stored], default=-1)
        return -(-closed.committed // self._run.frames_per_block) - 1

    def _first_counter(self) -> int | None:
        """Return the counter at which the camera began, if the log still says it."""
        if started := self._old.started:
            return started.counter
        closed = self._old.closed
        if closed is None or not closed.counted:
            return None
        ends = [each.last for each in closed.dropped]
        if closed.block:
            ends.append(_end(closed.block))
        return max(ends) + 1 - closed.counted if ends else None

    def _records(self) -> list[Record]:
        """Return the records of the new log, each note behind the block that it stood behind."""
        records: list[Record] = []
        if self._first is not None:
            started = self._old.started
            records.append(Started(self._first, started.at if started else self._now))
        closed = self._closed()
        waiting = deque(self._blocks)
        if closed and closed.block:
            waiting.pop()
        for record in self._old.records:
            if isinstance(record, Block):
                while waiting and waiting[0][0] <= record.number:
                    records.append(waiting.popleft()[1])
            if isinstance(record, Noted):
                records.append(record)
        records += [block for _, block in waiting]
        return [*records, closed] if closed else records

    def _closed(self) -> Closed | None:
        old = self._old.closed
        last = self._blocks[-1][1] if self._blocks else None
        short = last if last and len(last.extent) < self._run.frames_per_block else None
        if old is None and short is None:
            return None
        dropped: list[Dropped] = []
        if old and self._first is not None and self._following is not None:
            dropped = self._missing(self._following, self._first + old.counted - 1)
        committed = sum(len(block.extent) for _, block in self._blocks)
        lost = sum(each.count for _, block in self._blocks for each in block.dropped)
        lost += sum(each.count for each in dropped)
        return Closed(
            block=short,
            counted=committed + lost,
            committed=committed,
            dropped_count=lost,
            dropped=tuple(dropped),
            reason=old.reason if old else END_LOST,
            at=old.at if old else self._now,
        )


def _begin(block: Block) -> int:
    """Return the first counter that a block accounts for."""
    return min([block.frame_ids[0], *(each.first for each in block.dropped)])


def _end(block: Block) -> int:
    """Return the last counter that a block accounts for; the last one of a run may end in losses."""
    return max([block.frame_ids[1], *(each.last for each in block.dropped)])


def _shown(path: Path) -> int:
    """Return the most frames that the run's metadata show; what cannot be read shows none."""
    shown = [0]
    with contextlib.suppress(FileNotFoundError, RunDamagedError):
        shown.append(shown_frames((path / METADATA).read_bytes(), where=str(path / METADATA)))
    with contextlib.suppress(FileNotFoundError, ValueError, LookupError, TypeError):
        shown.append(int(json.loads((path / FRAMES / METADATA).read_bytes())["shape"][0]))
    return max(shown)
