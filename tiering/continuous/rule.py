"""How fast moves may go: what they give way to, and when they have to hurry."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_KEEPING_UP = frozenset({"normal", "holding"})
_NO_SPACE = "waiting for space"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How a tier fills."""

    tier: str
    """Its name."""
    used_bytes: int
    """What copies take there or have reserved, and what open runs have."""
    capacity: int | None
    """What it may hold; None for any."""
    bytes_per_second: float
    """Rate at which recorders commit to it."""
    seconds_to_high: float
    """Time until it is full up to its watermark ``high``, at that rate."""
    seconds_to_full: float
    """Time until it has no room left, at that rate: neither by its capacity nor on its disk."""
    leaving_bytes: int
    """Bytes that are to go from there, and are not in another tier yet."""
    arriving_bytes: int = 0
    """Those of `used_bytes` that copies have reserved which are not whole there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What moves give way to."""

    outlooks: Sequence[Outlook] = ()
    """How the tiers fill."""
    flows: Collection[str] = ()
    """How frames get through in each recording on this machine, in the words of its status."""
    realtime_waits: bool = False
    """Whether real-time work waits to be computed."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """How fast moves may go."""

    bytes_per_second: float
    """0 for not at all, infinity for as fast as can be."""
    because: str
    """Why, as the end of a sentence."""


def allowed(situation: Situation, *, gentle: float, grace_seconds: float) -> Allowed:
    """Return how fast moves may go.

    The first of these that fits decides:

    1. A recorder on this machine waits for space: as fast as can be.
    2. A recorder on this machine does not keep up with its camera: not at all.
    3. What is to leave a tier would not be gone, at the rate `gentle`, by the time at which that
       tier is full up to its watermark: at the rate at which it is.  An old copy goes when its
       grace is over, so copying has to be done that much before.
    4. Real-time work waits: not at all.
    5. Something is recorded: at the rate `gentle`.
    6. As fast as can be.

    Parameters
    ----------
    situation
        What there is to give way to.
    gentle
        Bytes per second that do not disturb a recorder.
    grace_seconds
        Time between the end of copying and the deletion of the old copy.

    Examples
    --------
    >>> hot = Outlook(tier="hot", used_bytes=600, capacity=1000, bytes_per_second=1.0,
    ...               seconds_to_high=200.0, seconds_to_full=400.0, leaving_bytes=500)
    >>> allowed(Situation(outlooks=[hot], flows=["normal"]), gentle=10.0, grace_seconds=0.0)
    Allowed(bytes_per_second=10.0, because='something is recorded')
    >>> allowed(Situation(outlooks=[hot], flows=["normal"]), gentle=1.0, grace_seconds=100.0)
    Allowed(bytes_per_second=5.0, because='hot reaches its watermark in 200 s')
    """
    flows = set(situation.flows)
    if _NO_SPACE in flows:
        return Allowed(math.inf, "a recorder waits for space")
    if behind := sorted(flows - _KEEPING_UP):
        return Allowed(0.0, f"a recorder is behind its camera ({behind[0]})")
    needs = [(_needed(each, grace_seconds), each) for each in situation.outlooks]
    needed, pressing = max(needs, key=lambda each: each[0], default=(0.0, None))
    if pressing is not None and needed > gentle:
        left = pressing.seconds_to_high
        return Allowed(needed, f"{pressing.tier} reaches its watermark in {left:.0f} s")
    if situation.realtime_waits:
        return Allowed(0.0, "real-time work waits")
    if flows or any(each.bytes_per_second > 0 for each in situation.outlooks):
        return Allowed(gentle, "something is recorded")
    return Allowed(math.inf, "nothing is recorded")


def lead_seconds(
    *, capacity: int, low: float, high: float, gentle: float, grace_seconds: float
) -> float:
    """Return how long before its watermark is reached a tier begins to be freed.

    So long takes what is freed from ``high`` down to ``low``, at the rate `gentle`, with its
    grace.

    Examples
    --------
    >>> lead_seconds(capacity=1000, low=0.7, high=0.8, gentle=10.0, grace_seconds=60.0)
    70.0
    """
    return grace_seconds + round((high - low) * capacity, 6) / gentle


def _needed(outlook: Outlook, grace_seconds: float) -> float:
    """Return the bytes per second at which what leaves a tier has gone in time."""
    if not outlook.leaving_bytes or math.isinf(outlook.seconds_to_high):
        return 0.0
    left = outlook.seconds_to_high - grace_seconds
    return outlook.leaving_bytes / left if left > 0 else math.inf
