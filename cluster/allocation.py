"""How the room of a cluster is divided between lanes, and who borrows what is not used.

A pure rule: it is given how much room there is, how much each lane has in use and which lanes have
work, and says how much each may take.  What a lane is guaranteed it gets whenever it has work; what
it does not use others may borrow, as far as it lends.  Nothing is taken back from a unit that is
being computed: lent room returns as units end, so a lane that cannot wait keeps some of it free.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What a lane is promised."""

    guaranteed: float
    """Part of the room that is its own whenever it has work, from 0 to 1."""
    lent: float = 1.0
    """Part of what it does not use that others may borrow, from 0 to 1."""
    most: float = 1.0
    """Part of the room that it may have at the most, with what it borrows."""


def divide(
    room: int,
    shares: Mapping[str, Share],
    used: Mapping[str, int],
    wanting: Collection[str],
) -> dict[str, int]:
    """Return how much more each lane may take.

    Parameters
    ----------
    room
        Units that may be in work at a time.
    shares
        What each lane is promised, the most urgent lane first; the guaranteed parts are 1 at the
        most together.
    used
        Units in work, by lane.
    wanting
        Lanes that have more work; the others get nothing, and lend what they do not use.

    Returns
    -------
    dict
        For every lane of `shares`, how many units it may add to those in work.

    Examples
    --------
    A lane without work lends what it is promised, but for what it keeps free:

    >>> shares = {"realtime": Share(0.5, lent=0.5), "reprocess": Share(0.5)}
    >>> divide(8, shares, used={}, wanting={"reprocess"})
    {'realtime': 0, 'reprocess': 6}

    When it has work, it takes that at once, and the rest as units of the other end:

    >>> divide(8, shares, used={"reprocess": 6}, wanting={"realtime", "reprocess"})
    {'realtime': 2, 'reprocess': 0}
    """
    own = promised(room, shares)
    most = {
        lane: max(own[lane], math.floor(room * share.most + 1e-9)) for lane, share in shares.items()
    }
    busy = {lane: max(0, used.get(lane, 0)) for lane in shares}
    free = max(0, room - sum(used.values()))
    more = dict.fromkeys(shares, 0)
    # What is promised comes first, the most urgent lane before the others.
    for lane in shares:
        if lane in wanting:
            more[lane] = min(free, max(0, own[lane] - busy[lane]))
            free -= more[lane]
    # Some of what is free belongs to lanes that do not use it, and is not for others.
    kept = 0
    for lane, share in shares.items():
        unused = max(0, own[lane] - busy[lane] - more[lane])
        kept += math.ceil(unused * (1.0 - share.lent) - 1e-9)
    free = max(0, free - kept)
    takers = [lane for lane in shares if lane in wanting]
    while free and takers:
        takers = [lane for lane in takers if busy[lane] + more[lane] < most[lane]]
        if not takers:
            break
        # Whoever has borrowed the least, for its share, borrows next.
        lane = min(takers, key=lambda each: _borrowed(busy[each] + more[each], own[each]))
        more[lane] += 1
        free -= 1
    return more


def promised(room: int, shares: Mapping[str, Share]) -> dict[str, int]:
    """Return how much of the room is each lane's own.

    Examples
    --------
    >>> promised(8, {"realtime": Share(0.5), "reprocess": Share(0.25)})
    {'realtime': 4, 'reprocess': 2}
    """
    return _whole(room, {lane: share.guaranteed for lane, share in shares.items()})


def _borrowed(has: int, own: int) -> float:
    return (has - own) / max(1, own)


def _whole(room: int, parts: Mapping[str, float]) -> dict[str, int]:
    """Return whole numbers for parts of a room, none of it lost to rounding."""
    exact = {lane: room * part for lane, part in parts.items()}
    whole = {lane: math.floor(amount + 1e-9) for lane, amount in exact.items()}
    left = round(sum(exact.values())) - sum(whole.values())
    # The most urgent lane goes first where two have as much left over.
    by_rest = sorted(exact, key=lambda lane: whole[lane] - exact[lane])
    for lane in by_rest[: max(0, left)]:
        whole[lane] += 1
    return whole
