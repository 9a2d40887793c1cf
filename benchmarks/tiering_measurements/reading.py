"""Reading by the tiered store and by Zarr's own, taking turns."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tiering_measurements.run import FRAME_BYTES, laboratory, record
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from forebay.acquisition import Run, open_run
from forebay.tiering import open_store

type Row = dict[str, Any]

_CRC_BYTES = 4


def reading(root: Path, *, megabytes: int, times: int) -> list[Row]:
    """Read each block of three runs from memory, whole and one frame of it.

    The first run was never moved, the second has a copy in the cold tier, the third lies there
    alone.
    """
    runs = {name: root / "runs" / name for name in ("never-moved", "with-a-copy", "cold")}
    for run in runs.values():
        record(run, megabytes)
    (root / "cold").mkdir()
    with laboratory(root / "runs", root / "cold", ledger=root / "ledger.sqlite") as lab:
        lab.move(runs["with-a-copy"], "cold", keep=True)
        lab.move(runs["cold"], "cold")
    first = open_run(LocalStore(runs["never-moved"], read_only=True))
    blocks = [stored.key for block in first.blocks for stored in block.objects]
    blocks = [key for key in blocks if key.startswith("frames/")]
    rows: list[Row] = []
    for name, run in runs.items():
        bare = LocalStore(_place_of_copy(run) if name == "cold" else run, read_only=True)
        stores = (bare, open_store(run))
        # In a block, frames lie one behind the other, each with its checksum.
        frame = RangeByteRequest(0, FRAME_BYTES + _CRC_BYTES)
        for what, part in {"block": None, "frame": frame}.items():
            both = [_getting(store, part) for store in stores]
            rows.append({"run": name, "read": what, **_both(both, blocks, times=times)})
        # As an algorithm does, by whom a whole block is compared with the digest in the log.
        opened = [_reading(open_run(store)) for store in stores]
        numbers = range(len(blocks))
        rows.append({"run": name, "read": "run", **_both(opened, numbers, times=times)})
    return rows


def _getting(store: Store, part: ByteRequest | None) -> Callable[[str], object]:
    return lambda key: sync(store.get(key, default_buffer_prototype(), part))


def _reading(run: Run) -> Callable[[int], object]:
    return lambda number: run.read([run.blocks[number]], run.blocks[number].extent)


def _both[T](ways: Sequence[Callable[[T], object]], blocks: Sequence[T], *, times: int) -> Row:
    """Return how long both ways took for the same blocks, one after the other."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(times + 1):
        for place, block in enumerate(blocks):
            for number in (0, 1) if (turn + place) % 2 else (1, 0):
                began = time.perf_counter()
                found = ways[number](block)
                ended = time.perf_counter()
                if found is None:
                    raise RuntimeError(f"{block} is not there")
                # The first round brings the blocks into memory.
                if turn:
                    taken[number].append(ended - began)
                del found
    bare, tiered = (1e3 * statistics.median(each) for each in taken)
    ratios = [two / one for one, two in zip(*taken, strict=True)]
    return {
        "LocalStore_ms": round(bare, 2),
        "TieredStore_ms": round(tiered, 2),
        "longer_by_ms": round(tiered - bare, 2),
        "longer_by_percent": round(100 * (statistics.median(ratios) - 1), 1),
    }


def _place_of_copy(run: Path) -> Path:
    document = json.loads((run / "_forebay" / "tiers.json").read_bytes())
    return Path(document["places"][0]["url"])
