"""Runs that are longer than the disk: what is committed is removed behind the recorder."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forebay.acquisition import AcquisitionStatus, FrameFlag, open_run

_KEPT = 8
_EVERY_SECONDS = 0.1
_JOIN_SECONDS = 30.0


@contextmanager
def frames_removed(run: Path) -> Iterator[None]:
    """Remove the shards of a growing run, as moving them to another tier would do.

    The newest stay, and so does all that the sums need: the log and the coordinates.
    """
    ended = threading.Event()

    def remove() -> None:
        while not ended.wait(_EVERY_SECONDS):
            shards = sorted((run / "frames").glob("c.*"), key=_number)
            for shard in shards[:-_KEPT]:
                shard.unlink()

    thread = threading.Thread(target=remove, name="benchmark-removal")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the frames of a run."""

    closes: bool
    """Whether each is there once: committed, or written down as dropped."""
    reduced: int
    """Committed frames to which a reduction for times of overload was applied."""


def account_of(run: Path, status: AcquisitionStatus, *, delivered: int) -> Account:
    """Return what a closed run and the last status say of frames 0 to `delivered`."""
    opened = open_run(run)
    taken = opened.frames.frame_id.to_numpy()
    lost = [np.arange(each.first, each.last + 1, dtype=np.uint64) for each in opened.dropped]
    counters = np.sort(np.concatenate([taken, *lost]))
    closes = (
        np.array_equal(counters, np.arange(delivered))
        and status.committed + status.dropped == status.counted == delivered
        and (len(taken), sum(map(len, lost))) == (status.committed, status.dropped)
    )
    flags = opened.frames.flags.to_numpy()
    return Account(closes, int((flags & FrameFlag.REDUCED != 0).sum()))


def _number(shard: Path) -> int:
    return int(shard.name.split(".")[1])
