"""The tier that is recorded into never fills up, as long as the disks behind it are fast enough."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize

from forebay.tiering.catalogue.records import RunRecord, ShelfRecord
from forebay.tiering.continuous.rule import Outlook, Situation, allowed, lead_seconds
from forebay.tiering.policy import suggestions
from forebay.tiering.simulation.laboratory import copy_in
from forebay.tiering.specification import PolicySpecification, TierSpecification

CAPACITY = 10**12
HOT = TierSpecification(url="/hot", capacity=ByteSize(CAPACITY))
TIERS = {"hot": HOT, "cold": TierSpecification(url="/cold")}
ROOM = PolicySpecification.model_validate(
    {"name": "room", "from": "hot", "to": "cold", "when": "full"}
)
STEPS = 60
"""Looks in the time in which a tier would fill up."""


class Tier:
    """A tier that is recorded into without a break, and freed as a service does.

    What moves are runs that are closed, or volumes of one that never ends: then the newest blocks
    stay.
    """

    def __init__(
        self, rate: float, run_bytes: int, grace: float, gentle: float, newest: float
    ) -> None:
        self.rate, self.run_bytes, self.grace, self.gentle = rate, run_bytes, grace, gentle
        self.time, self.step = 0.0, CAPACITY / rate / STEPS
        self.open = self.newest = newest
        self.runs: dict[str, RunRecord] = {}
        self.copies: dict[str, ShelfRecord] = {}
        self.leaving: dict[str, float] = {}
        self.draining: list[tuple[float, int]] = []
        self.lead = lead_seconds(
            capacity=CAPACITY, low=HOT.low, high=HOT.high, gentle=gentle, grace_seconds=grace
        )

    @property
    def used(self) -> float:
        stored = sum(copy.bytes for copy in self.copies.values())
        return self.open + stored + sum(size for _, size in self.draining)

    def record(self) -> None:
        self.time += self.step
        self.open += self.rate * self.step
        if self.open >= self.newest + self.run_bytes:
            name, at = f"run-{self.time:.0f}", int(self.time * 1e9)
            run = RunRecord(name, name, name, int(self.open - self.newest), 1, at, at)
            self.runs[name], self.copies[name] = run, copy_in(run, "hot")
            self.open = self.newest
        self.draining = [each for each in self.draining if each[0] > self.time]

    def decide(self) -> None:
        expected = {"hot": int(self.open + self.rate * self.lead)}
        runs = [self.runs[name] for name in self.copies]
        copies = list(self.copies.values())
        now = int(self.time * 1e9)
        for each in suggestions([ROOM], TIERS, runs, copies, [], now=now, expected=expected):
            self.leaving.setdefault(each.run.run_id, float(each.run.bytes))

    def move(self, fastest: float) -> None:
        outlook = Outlook(
            tier="hot",
            used_bytes=int(self.used),
            capacity=CAPACITY,
            bytes_per_second=self.rate,
            seconds_to_high=max(0.0, HOT.high * CAPACITY - self.used) / self.rate,
            seconds_to_full=max(0.0, CAPACITY - self.used) / self.rate,
            leaving_bytes=sum(self.runs[name].bytes for name in self.leaving),
        )
        situation = Situation(outlooks=[outlook], flows=["normal"])
        pace = allowed(situation, gentle=self.gentle, grace_seconds=self.grace).bytes_per_second
        left = min(pace, fastest) * self.step
        for name in list(self.leaving):
            done = min(left, self.leaving[name])
            left -= done
            self.leaving[name] -= done
            if self.leaving[name] <= 0:
                del self.leaving[name]
                size = self.copies.pop(name).bytes
                self.draining.append((self.time + self.grace, size))


@given(
    rate=st.floats(2e7, 2e9),
    run_part=st.floats(0.001, 0.04),
    grace_part=st.floats(0.0, 0.5),
    gentle=st.floats(1e7, 1e9),
    newest_part=st.floats(0.0, 0.1),
    faster=st.floats(2.0, 10.0),
)
def test_a_recorder_never_meets_a_full_tier(
    rate: float,
    run_part: float,
    grace_part: float,
    gentle: float,
    newest_part: float,
    faster: float,
) -> None:
    """Whatever its rate, the length of its runs or volumes, the grace, and what disturbs it."""
    grace = grace_part * CAPACITY / rate
    tier = Tier(rate, int(run_part * CAPACITY), grace, gentle, newest_part * CAPACITY)
    highest = 0.0
    for _ in range(3 * STEPS):
        tier.record()
        tier.decide()
        tier.move(faster * rate)
        highest = max(highest, tier.used)
    assert highest <= CAPACITY
