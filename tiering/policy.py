"""Which runs and results should move, by the policies that are configured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from forebay.tiering.catalogue.catalogue import protecting
from forebay.tiering.catalogue.records import Kind, Protection, RunRecord, ShelfRecord, ShelfState
from forebay.tiering.specification import PolicySpecification, TierSpecification

_DAY_NS = 86_400 * 10**9
_NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A run, or a volume of a result, that a policy would move."""

    run: RunRecord
    """What moves."""
    source: str
    """The tier that it lies in."""
    target: str
    """The tier that it is to lie in."""
    keep: bool
    """Whether the copy in the first tier stays."""
    policy: str
    """The policy that says so."""
    cost: float
    """What reading it from its tier costs, once."""
    recall_cost: float
    """What of that it costs to recall it from an archive."""
    cost_per_month: float
    """What it costs more in each month, or less where it is below zero."""
    recall_seconds: float
    """Until it can be read, where it has to be recalled first."""
    copy_seconds: float | None
    """Until it is copied and read back then, by the bandwidth of the tiers; None if they have none."""

    @property
    def why(self) -> str:
        """Why it moves, as it is written down with the move."""
        return why_of(self.policy)


def why_of(policy: str) -> str:
    """Return what is written down with the moves that a policy asks for."""
    return f"policy {policy}"


def suggestions(
    policies: Sequence[PolicySpecification],
    tiers: Mapping[str, TierSpecification],
    runs: Sequence[RunRecord],
    shelves: Sequence[ShelfRecord],
    protections: Sequence[Protection],
    *,
    now: int,
    expected: Mapping[str, int] = _NOTHING,
) -> Iterator[Suggestion]:
    """Yield the moves that policies ask for; nothing is changed.

    Parameters
    ----------
    policies
        The policies; the first one that fits a run decides on it.
    tiers
        The tiers by name.
    runs
        The runs.
    shelves
        Their copies.
    protections
        Pins and holds in force: what they keep is not suggested.
    now
        The time, in nanoseconds since 1970-01-01 UTC.
    expected
        Bytes that tiers have to have room for beside those of the runs, by their names.
    """
    lies: dict[str, dict[str, ShelfRecord]] = {}
    used = dict(expected)
    for shelf in shelves:
        if shelf.state is ShelfState.AVAILABLE:
            lies.setdefault(shelf.run_id, {})[shelf.tier] = shelf
            used[shelf.tier] = used.get(shelf.tier, 0) + shelf.bytes
    kept: dict[str, list[Protection]] = {}
    for each in protections:
        kept.setdefault(each.run_id, []).append(each)
    decided: set[str] = set()
    parted = _parted(runs)
    for policy in policies:
        full = policy.when == "full"
        if full and not _above(tiers[policy.source], used.get(policy.source, 0)):
            continue
        # Where room is needed, those go first that nobody has read for longest.
        for run in sorted(runs, key=lambda each: each.read_at) if full else runs:
            copies = lies.get(run.run_id, {})
            if run.run_id in decided or policy.source not in copies:
                continue
            if not _fits(policy, run, parted.get(run.home) or _Whole(run.bytes, closed=True), now):
                continue
            decided.add(run.run_id)
            moves = policy.target not in copies or not policy.keep
            if not policy.keep and protecting(kept.get(run.run_id, []), policy.source):
                continue
            if moves:
                yield _suggested(policy, run, tiers)
                if not policy.keep:
                    used[policy.source] -= run.bytes
            if full and not _above_low(tiers[policy.source], used.get(policy.source, 0)):
                break


@dataclass(frozen=True, slots=True)
class _Whole:
    """A run of which parts were taken in while it was open."""

    bytes: int
    closed: bool


def _parted(runs: Sequence[RunRecord]) -> Mapping[str, _Whole]:
    """Return what such runs are as a whole, by their folders."""
    parted = {run.home for run in runs if run.kind is Kind.BLOCKS}
    found: dict[str, _Whole] = {}
    for run in runs if parted else ():
        if run.home in parted and run.kind is not Kind.RESULT:
            before = found.get(run.home, _Whole(0, closed=False))
            closed = before.closed or run.kind is Kind.RAW
            found[run.home] = _Whole(before.bytes + run.bytes, closed)
    return found


def _fits(policy: PolicySpecification, run: RunRecord, whole: _Whole, now: int) -> bool:
    # The results of a run lie in a folder that is called as the run.
    name = run.name if run.kind is not Kind.RESULT else run.name.rpartition("/")[0]
    data = "result" if run.kind is Kind.RESULT else "raw"
    return (
        policy.data in {"both", data}
        and fnmatchcase(name, policy.runs)
        and whole.bytes >= policy.larger_than
        and (policy.state == "any" or whole.closed)
        and now - run.closed_at >= policy.older_than_days * _DAY_NS
        and now - max(run.read_at, run.closed_at) >= policy.unread_days * _DAY_NS
    )


def _above(tier: TierSpecification, used: int) -> bool:
    return tier.capacity is not None and used > tier.high * tier.capacity


def _above_low(tier: TierSpecification, used: int) -> bool:
    return tier.capacity is not None and used > tier.low * tier.capacity


def _stored(run: RunRecord, tier: TierSpecification) -> int:
    """Return in how many objects a run lies in a tier, about."""
    if tier.pack_bytes is None:
        return run.objects
    return min(run.objects, math.ceil(run.bytes / tier.pack_bytes))


def recall_cost(run: RunRecord, tier: TierSpecification) -> float:
    """Return what it costs to recall a run from a tier, about; nothing where that is no archive."""
    terms = tier.recall
    return 0.0 if terms is None else terms.cost(run.bytes, _stored(run, tier))


def read_cost(run: RunRecord, tier: TierSpecification) -> float:
    """Return what it costs to read a run from a tier once, about, with its recall."""
    return run.bytes / 1e9 * tier.cost_per_gb_read + recall_cost(run, tier)


def _copy_seconds(
    run: RunRecord, source: TierSpecification, target: TierSpecification
) -> float | None:
    """Return how long it takes to copy a run and to read it back, as fast as tiers may be used."""
    limits = [each.bandwidth for each in (source, target) if each.bandwidth is not None]
    if not limits:
        return None
    reading_back = 0.0 if target.bandwidth is None else run.bytes / target.bandwidth
    return run.bytes / min(limits) + reading_back


def _suggested(
    policy: PolicySpecification, run: RunRecord, tiers: Mapping[str, TierSpecification]
) -> Suggestion:
    gigabytes = run.bytes / 1e9
    recall = tiers[policy.source].recall
    more = tiers[policy.target].cost_per_gb_month
    less = 0.0 if policy.keep else tiers[policy.source].cost_per_gb_month
    return Suggestion(
        run=run,
        source=policy.source,
        target=policy.target,
        keep=policy.keep,
        policy=policy.name,
        cost=read_cost(run, tiers[policy.source]),
        recall_cost=recall_cost(run, tiers[policy.source]),
        cost_per_month=gigabytes * (more - less),
        recall_seconds=0.0 if recall is None else recall.hours * 3600,
        copy_seconds=_copy_seconds(run, tiers[policy.source], tiers[policy.target]),
    )
