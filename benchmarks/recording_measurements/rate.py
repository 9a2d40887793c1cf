"""The highest frame rate that is held without a drop, and what happens above it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.recording_measurements.running import Account, account_of, frames_removed
from benchmarks.recording_measurements.slow_disk import slow_disk
from benchmarks.recording_measurements.source import PreparedSource
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream

from forebay.acquisition import AcquisitionStatus, acquire
from forebay.acquisition.settings import AcquisitionSettings

POLICIES = ("block", "spill", "reduce", "drop-oldest", "drop-newest", "decimate")
OVER = 1.5
"""Rate of an overload, of what the disk holds."""
SLOWED = 0.5
"""Speed of the disk that is overloaded, of what it can: the rest is for whoever overloads it."""
SPILL_BYTES = 4 * 2**30

_ENOUGH = 1.04
"""Ratio of the lowest rate that failed to the highest that did not, at which the search ends."""
_BACK = 0.9
_LONG_TRIALS = 4
_LATE_SECONDS = 0.05
_LATE_FRAMES = 10

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """How a recording at a rate went."""

    rate: float
    """Frames per second."""
    seconds: float
    """For so long, until the run was closed."""
    status: AcquisitionStatus
    """How it ended."""
    late: float
    """How long after it was due the last frame was taken, in seconds."""
    account: Account
    """What became of the frames."""
    flow: tuple[str, ...]
    """The states of the flow that were told of, in their order."""

    @property
    def held(self) -> bool:
        """Whether all frames were recorded, and the last one taken when it was due."""
        late = self.late > max(_LATE_SECONDS, _LATE_FRAMES / self.rate)
        return self.status.dropped == 0 and not late

    def row(self, stream: Stream) -> Row:
        """Return the figures."""
        return {
            "frames_per_s": self.rate,
            "MB_per_s": self.rate * stream.nbytes / stream.frames / 1e6,
            "seconds": self.seconds,
            "committed": self.status.committed,
            "dropped": self.status.dropped,
            "counted": self.status.counted,
            "sums_close": self.account.closes,
            "held": self.held,
            "reduced": self.account.reduced,
            "flow": ", ".join(self.flow),
            "ring_highest": self.status.ring_highest,
            "ring_slots": self.status.ring_slots,
        }


def record_at(
    stream: Stream,
    folder: Path,
    *,
    rate: float | None,
    seconds: float,
    settings: AcquisitionSettings,
    can_wait: bool = False,
    count: int | None = None,
    until_drop: bool = False,
) -> Trial:
    """Record at a rate for some time, or `until_drop`, into a run that is removed again."""
    frames = count or max(1, round((rate or 0) * seconds))
    source = PreparedSource(stream.shard(), count=frames, rate=rate, can_wait=can_wait)
    run = folder / "run"
    seen: list[AcquisitionStatus] = []

    def look(status: AcquisitionStatus) -> None:
        seen.append(status)
        if until_drop and status.dropped:
            source.stop()

    try:
        with frames_removed(run), source:
            status = acquire(source, run, settings=settings, on_status=look)
        account = account_of(run, status, delivered=source.delivered)
    finally:
        shutil.rmtree(run, ignore_errors=True)
    reached = rate or status.committed / status.seconds
    flow = tuple(dict.fromkeys(each.flow for each in seen))
    return Trial(reached, status.seconds, status, source.late, account, flow)


def highest_rate(
    stream: Stream,
    folder: Path,
    *,
    trial_seconds: float,
    hold_seconds: float,
    begin: float | None = None,
    trials: int = 12,
    ring_bytes: int,
    tell: Callable[[str], None],
) -> Trial:
    """Find the highest rate that is held, and hold it for long.

    The search halves the interval below the rate of a source that is held up; where the rate that
    was found is not held for the long time, a little lower ones are tried.  With `begin` there is
    no search: the long trials begin with that rate.  A trial ends soon after its first drop.

    The long trials have a ring of `ring_bytes`, since a disk pauses now and then for longer than
    what is usual lasts; the short ones do not, for which a larger ring would be all they fill.
    """
    usual = settings_for(stream, overload="drop-newest")
    long = settings_for(stream, overload="drop-newest", buffer_bytes=ring_bytes)

    def tried(rate: float, seconds: float, settings: AcquisitionSettings) -> Trial:
        trial = record_at(
            stream, folder, rate=rate, seconds=seconds, settings=settings, until_drop=True
        )
        told = "held" if trial.held else f"{trial.status.dropped} dropped, {trial.late:.2f} s late"
        tell(f"{rate:.1f} frames/s for {trial.seconds:.0f} of {seconds:g} s: {told}")
        return trial

    def found() -> float:
        held_up = record_at(
            stream,
            folder,
            rate=None,
            seconds=0,
            count=stream.frames,
            can_wait=True,
            settings=settings_for(stream, overload="block"),
        )
        low, high = 0.0, 1.2 * held_up.rate
        for _ in range(trials):
            if high < _ENOUGH * low:
                break
            middle = (low + high) / 2
            low, high = (
                (middle, high) if tried(middle, trial_seconds, usual).held else (low, middle)
            )
        return low or high

    rate = found() if begin is None else begin
    for _ in range(min(trials, _LONG_TRIALS)):
        trial = tried(rate, hold_seconds, long)
        if trial.held:
            break
        rate *= _BACK
    return trial


def rates_held(
    stream: Stream, folder: Path, *, rates: Sequence[float], seconds: float
) -> list[Row]:
    """Record at given rates; return a row for each."""
    settings = settings_for(stream, overload="drop-newest")
    return [
        record_at(stream, folder, rate=rate, seconds=seconds, settings=settings).row(stream)
        for rate in rates
    ]


def overloaded(
    stream: Stream, folder: Path, *, bytes_per_second: float, seconds: float, spill: Path
) -> list[Row]:
    """Record half as fast again as a slow disk holds, under each policy; return a row for each.

    What it holds follows from its speed and the stored bytes of a frame, which a block tells that is
    recorded before.  Reducing is of use only where frames are packed, so that they are with that
    policy.  The ring is small: what it holds comes before a policy.
    """
    ring = {"blocks_in_flight": 2, "buffer_bytes": 4 * stream.nbytes // stream.shards}
    others: dict[str, dict[str, object]] = {
        "spill": {"spill": spill, "spill_bytes": SPILL_BYTES},
        "reduce": {
            "compression": "blosc-lz4",
            "reduction": {"overload_steps": ["bit-depth:10", "bit-depth:8"]},
        },
    }
    rows = []
    for policy in POLICIES:
        settings = settings_for(stream, overload=policy, **ring, **others.get(policy, {}))
        block = settings_for(stream, overload="block", compression=settings.compression)
        count = stream.frames_per_shard
        told = record_at(
            stream, folder, rate=None, seconds=0, count=count, can_wait=True, settings=block
        ).status
        held = bytes_per_second * told.committed / told.stored_bytes
        with slow_disk(folder, bytes_per_second=bytes_per_second):
            trial = record_at(
                stream,
                folder,
                rate=OVER * held,
                seconds=seconds,
                settings=settings,
                can_wait=policy == "block",
            )
        acted = _acted(policy, trial)
        rows.append({"policy": policy, "disk_holds": held, "acted": acted, **trial.row(stream)})
    return rows


def _acted(policy: str, trial: Trial) -> bool:
    """Tell whether the policy had something to do, and did what it is for."""
    match policy:
        case "block":
            return trial.status.dropped == 0 and "holding" in trial.flow
        case "spill":
            return trial.status.dropped == 0 and "spilling" in trial.flow
        case "reduce":
            return trial.account.reduced > 0
        case _:
            return trial.status.dropped > 0
