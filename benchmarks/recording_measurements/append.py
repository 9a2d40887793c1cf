"""Sustained recording, by forebay and by its peers, in turns."""

import shutil
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.recording_measurements.cost import Cost, cost_of, processes
from benchmarks.recording_peers.peer import Stream, load_peer

PEERS = (
    "raw",
    "raw_buffered",
    "forebay",
    "forebay_in_ring",
    "acquire_zarr",
    "tensorstore",
    "zarr_python",
    "zarrs",
    "hdf5",
)
LIMIT = "raw"

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure in each round."""

    peer: str
    """Name of the peer."""
    place: str
    """Name of the place."""
    stream: Stream
    """What is recorded."""


def append(
    streams: Sequence[Stream],
    places: Mapping[str, Path],
    *,
    rounds: int,
    peers: Sequence[str] = PEERS,
) -> list[Row]:
    """Record each stream with every peer in every place; return a row for each.

    In each round all take turns, in the opposite order every second time, and what is of interest
    is the ratio to the limit in the same round.
    """
    with processes(peers) as workers:
        described = {peer: workers[peer].submit(_describe, peer) for peer in peers}
        about = {peer: done.result() for peer, done in described.items()}
        cases = [
            Case(peer, place, stream)
            for place in places
            for stream in streams
            for peer in peers
            if stream.compression in about[peer]["compressions"]
        ]
        costs: dict[Case, list[Cost]] = defaultdict(list)
        for turn in range(rounds):
            for case in cases[:: -1 if turn % 2 else 1]:
                folder = places[case.place] / case.peer
                done: Future[Cost]
                done = workers[case.peer].submit(_record, case.peer, case.stream, folder)
                costs[case].append(done.result())
    missing = [{"peer": peer, **about[peer]} for peer in peers if not about[peer]["compressions"]]
    return [_row(case, costs, about[case.peer]) for case in cases] + missing


def _describe(name: str) -> Row:
    """Return what a peer says of itself; runs in its process."""
    try:
        peer = load_peer(name)
    except ImportError as error:
        return {"compressions": (), "durable": f"not measured: {error}", "checksums": ""}
    return {
        "compressions": peer.COMPRESSIONS,
        "durable": peer.DURABILITY,
        "checksums": peer.CHECKS,
    }


def _record(name: str, stream: Stream, folder: Path) -> Cost:
    """Record once, see that it is there, remove it; runs in the peer's process."""
    peer = load_peer(name)
    stream.shard()
    try:
        recording = peer.prepare(stream, folder)
        cost = cost_of(recording.record)
        for position in {0, stream.frames // 2, stream.frames - 1}:
            if not np.array_equal(recording.read(position), stream.frame(position)):
                raise ValueError(f"{name} did not record frame {position} as it is")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return cost


def _row(case: Case, costs: Mapping[Case, list[Cost]], about: Row) -> Row:
    stream = case.stream
    limit = costs.get(replace(case, peer=LIMIT), [])
    ratios = [raw.seconds / own.seconds for raw, own in zip(limit, costs[case], strict=bool(limit))]
    rates = [stream.nbytes / each.seconds / 1e6 for each in costs[case]]
    cpu = statistics.median(each.cpu_seconds for each in costs[case])
    return {
        "place": case.place,
        "side": stream.side,
        "compression": stream.compression,
        "peer": case.peer,
        "frames_per_s": statistics.median(rates) * 1e6 * stream.frames / stream.nbytes,
        "MB_per_s": statistics.median(rates),
        "MB_per_s_best": max(rates),
        "of_raw": statistics.median(ratios) if ratios else None,
        "of_raw_least": min(ratios, default=None),
        "of_raw_most": max(ratios, default=None),
        "cpu_s_per_GB": cpu / stream.nbytes * 1e9,
        "durable": about["durable"],
        "checksums": about["checksums"],
    }
