"""A laboratory that is made up: so many instruments, and runs that are read for some time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.tiering.catalogue.records import RunRecord, ShelfRecord, ShelfState

DAY_NS = 86_400 * 10**9
MONTH_DAYS = 365.25 / 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """What a laboratory records, and what is read of it later."""

    instruments: int
    """Number of instruments."""
    bytes_per_day: float
    """What each records in a day, on average."""
    years: float = 2.0
    """For how long."""
    step_days: float = 7.0
    """What an instrument records in so many days is taken as one run; policies decide as often."""
    read_days: float = 30.0
    """For so long a run is read again and again after it was closed."""
    read_again: float = 0.0
    """Part of the older runs that is read once more in each month."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        return max(1, round(self.years * 365.25 / self.step_days))

    def record(self, step: int, tier: str) -> Iterator[tuple[RunRecord, ShelfRecord]]:
        """Yield the runs that are closed at the end of a step, with their copy in a tier."""
        size = round(self.bytes_per_day * self.step_days)
        closed = self.time(step)
        for number in range(self.instruments):
            name = f"instrument-{number + 1}/{step:05d}"
            run = RunRecord(name, name, name, size, 1, closed_at=closed, read_at=closed)
            yield run, copy_in(run, tier, home=True)

    def time(self, step: int) -> int:
        """Return when a step ends, in nanoseconds."""
        return round((step + 1) * self.step_days * DAY_NS)

    def is_read(self, run: RunRecord, step: int, chance: random.Random) -> bool:
        """Tell whether a run is read within a step."""
        if self.time(step) - run.closed_at <= self.read_days * DAY_NS:
            return True
        return chance.random() < self.read_again * self.step_days / MONTH_DAYS


def copy_in(run: RunRecord, tier: str, *, home: bool = False) -> ShelfRecord:
    """Return a whole copy of a run in a tier."""
    return ShelfRecord(
        shelf=f"{run.run_id} in {tier}",
        run_id=run.run_id,
        tier=tier,
        path=run.name,
        home=home,
        state=ShelfState.AVAILABLE,
        bytes=run.bytes,
        verified_at=run.closed_at,
        drain_until=None,
    )
