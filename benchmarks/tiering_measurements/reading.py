"""Reading blocks by the tiered store and by Zarr's own, taking turns."""

import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.tiering_measurements.run import laboratory, record
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from forebay.tiering import open_store

type Row = dict[str, Any]


def reading(root: Path, *, megabytes: int, times: int) -> list[Row]:
    """Read each block of three runs from memory, in a hot tier and in a cold one.

    The first was never moved, the second has a copy in the cold tier, the third lies there alone.
    """
    runs = {name: root / "runs" / name for name in ("never-moved", "with-a-copy", "cold")}
    for run in runs.values():
        size = record(run, megabytes)
    (root / "cold").mkdir()
    with laboratory(root / "runs", root / "cold", ledger=root / "ledger.sqlite") as lab:
        lab.move(runs["with-a-copy"], "cold", keep=True)
        lab.move(runs["cold"], "cold")
    blocks = [f"frames/{path.name}" for path in (runs["never-moved"] / "frames").glob("c.*")]
    rows: list[Row] = []
    for name, run in runs.items():
        folder = run
        if name == "cold":
            (folder,) = (
                path.parent.parent
                for path in (root / "cold").rglob("frames/zarr.json")
                if path.parent.parent.parent.name == _run_id(run)
            )
        bare = LocalStore(folder, read_only=True)
        rows.append(_row(name, bare, open_store(run), sorted(blocks), size, times=times))
    return rows


def _row(name: str, bare: Store, tiered: Store, blocks: list[str], size: int, *, times: int) -> Row:
    """Return how long both took for the same blocks, one after the other."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(times + 1):
        for place, block in enumerate(blocks):
            both = (bare, tiered) if (turn + place) % 2 else (tiered, bare)
            for store in both:
                began = time.perf_counter()
                found = sync(store.get(block, default_buffer_prototype()))
                ended = time.perf_counter()
                if found is None:
                    raise RuntimeError(f"{block} is not there")
                # The first round brings the blocks into memory.
                if turn:
                    taken[store is tiered].append(ended - began)
                del found
    first, second = (statistics.median(each) for each in taken)
    ratios = [two / one for one, two in zip(*taken, strict=True)]
    return {
        "run": name,
        "LocalStore_MB_per_s": round(size / len(blocks) / 1e6 / first),
        "TieredStore_MB_per_s": round(size / len(blocks) / 1e6 / second),
        "longer_by_percent": round(100 * (statistics.median(ratios) - 1), 1),
        "longer_by_ms": round(1e3 * (second - first), 2),
    }


def _run_id(run: Path) -> str:
    document = json.loads((run / "_forebay" / "tiers.json").read_bytes())
    return str(document["run_id"])
