"""How lanes divide the room, written down when that is news."""

import time
from collections.abc import Callable, Collection, Mapping

from forebay.cluster.allocation import Share, promised
from forebay.cluster.decisions import DecisionLog

_LEAST_SECONDS = 1.0
"""Time between two entries at the least: units come and go faster than anybody reads."""


class DivisionLog:
    """Writes down which lanes have work, and which of them borrow, when that changes.

    Parameters
    ----------
    decisions
        Where it is written.
    cluster
        What the cluster is called.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        decisions: DecisionLog,
        cluster: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decisions = decisions
        self._cluster = cluster
        self._clock = clock
        self._last: object = None
        self._next = clock()

    def take(
        self,
        room: int,
        shares: Mapping[str, Share],
        used: Mapping[str, int],
        wanting: Collection[str],
        more: Mapping[str, int],
    ) -> None:
        """Take in a division, as `forebay.cluster.allocation.divide` has made it.

        Parameters
        ----------
        room, shares, used, wanting
            What it was made from.
        more
            What has come of it.
        """
        own = promised(room, shares)
        has = {lane: used.get(lane, 0) + more.get(lane, 0) for lane in shares}
        borrowed = {lane: has[lane] - own[lane] for lane in shares if has[lane] > own[lane]}
        news = (dict(shares), frozenset(wanting), frozenset(borrowed))
        now = self._clock()
        if news == self._last or now < self._next:
            return
        self._last, self._next = news, now + _LEAST_SECONDS
        asking = ", ".join(lane for lane in shares if lane in wanting) or "no lane"
        loans = ", ".join(f"{lane} borrows {number}" for lane, number in borrowed.items())
        self._decisions.take(
            "allocation",
            self._cluster,
            reason=f"more work has {asking}; {loans or 'nothing is borrowed'}, of room for {room}",
            figures={
                "room": room,
                "promised": own,
                "used": dict(used),
                "more": dict(more),
                "wanting": sorted(wanting),
            },
        )
