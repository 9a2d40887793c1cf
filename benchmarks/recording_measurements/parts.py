"""What each part of recording costs: left out one at a time, or done another way, in turns."""

import mmap
import shutil
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.recording_measurements.cost import Cost, cost_of
from benchmarks.recording_measurements.ring_source import RingSource
from benchmarks.recording_measurements.source import PreparedSource
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream, load_peer

from forebay.acquisition import durable
from forebay.acquisition.format import shard
from forebay.acquisition.service.prepare import prepare
from forebay.acquisition.storage import aside

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of recording."""

    name: str
    """What is different."""
    without: tuple[tuple[object, str, object], ...] = ()
    """What is put in place of a part while this is measured: where, its name, and the other."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings that are different."""
    in_ring: bool = False
    """Whether frames lie in the ring already, and are not copied there."""

    @contextmanager
    def set_up(self) -> Iterator[None]:
        """Leave the parts out within the block."""
        with ExitStack() as patched:
            for owner, name, other in self.without:
                patched.enter_context(patch.object(owner, name, other))
            yield


def _nothing(*_: object) -> None:
    """Do nothing, whatever is given."""


class _NoDigest:
    """Stands in for a digest, and computes nothing."""

    def update(self, _: object) -> None:
        """Take bytes in."""

    def hexdigest(self) -> str:
        """Return the digest of nothing."""
        return "0" * 64


_NO_DIGEST = (aside, "blake3", _NoDigest)
_NO_CHECKSUMS = (shard, "crc32c", lambda *_: bytes(4))

PEERS = ("raw", "tensorstore")
"""What takes turns with them: the limit first, then what does without digest and ring."""
LEFT_OUT = (
    Way("as it is"),
    Way("without the digest", (_NO_DIGEST,)),
    Way("without the checksums", (_NO_CHECKSUMS,)),
    Way("without both", (_NO_DIGEST, _NO_CHECKSUMS)),
    Way("folders not flushed", ((durable, "flush_folder", _nothing),)),
    Way("not copied into the ring", in_ring=True),
    Way("neither digest nor copy", (_NO_DIGEST,), in_ring=True),
    Way("small pages", ((mmap, "MADV_HUGEPAGE", mmap.MADV_NOHUGEPAGE),)),
    Way("through the page cache", settings={"direct_io": False}),
    Way("six blocks in flight", settings={"blocks_in_flight": 6}),
)


def in_flight(most: int) -> Way:
    """Return the way of recording with so many blocks in flight."""
    return Way(f"{most} blocks in flight", settings={"blocks_in_flight": most})


def parts(
    stream: Stream, folder: Path, *, rounds: int, ways: tuple[Way, ...] = LEFT_OUT
) -> list[Row]:
    """Record a stream in each way, and with some peers, in turns; return a row for each.

    What was recorded without its checksums is no run that anybody could read: it is removed
    unread.
    """
    stream.shard()
    costs: dict[str, list[Cost]] = defaultdict(list)
    for turn in range(rounds):
        order = ways[:: -1 if turn % 2 else 1]
        for peer in PEERS:
            costs[peer].append(_record_with(peer, stream, folder / peer))
        for way in order:
            costs[way.name].append(_record(stream, folder / "run", way))
    return [_row(name, stream, costs) for name in costs]


def _record(stream: Stream, run: Path, way: Way) -> Cost:
    try:
        with way.set_up():
            source = (RingSource if way.in_ring else PreparedSource)(
                stream.shard(), count=stream.frames
            )
            acquisition = prepare(source, run, settings=settings_for(stream, **way.settings))
            if isinstance(source, RingSource):
                source.fill(acquisition._ring)  # noqa: SLF001
            return cost_of(acquisition.run)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def _record_with(peer: str, stream: Stream, folder: Path) -> Cost:
    try:
        return cost_of(load_peer(peer).prepare(stream, folder).record)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _row(name: str, stream: Stream, costs: Mapping[str, list[Cost]]) -> Row:
    own = costs[name]
    ratios = [
        limit.seconds / cost.seconds for limit, cost in zip(costs[PEERS[0]], own, strict=True)
    ]
    rates = [stream.nbytes / cost.seconds / 1e6 for cost in own]
    cpu = statistics.median(cost.cpu_seconds for cost in own)
    return {
        "way": name,
        "MB_per_s": statistics.median(rates),
        "MB_per_s_least": min(rates),
        "MB_per_s_most": max(rates),
        "of_raw": statistics.median(ratios),
        "of_raw_least": min(ratios),
        "of_raw_most": max(ratios),
        "cpu_s_per_GB": cpu / stream.nbytes * 1e9,
    }
