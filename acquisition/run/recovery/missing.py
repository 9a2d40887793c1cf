"""Writing down why counters are missing, when whoever knew it is gone."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from forebay.acquisition.format.record import Dropped


def account_for(
    first: int, last: int, *, known: Sequence[Dropped], reason: str, at: int
) -> list[Dropped]:
    """Return entries that hold each counter of a range exactly once.

    Parameters
    ----------
    first, last
        The range, both ends included; empty where `last` is the lower one.
    known
        What is known to have been dropped, in order; what lies outside the range is left out.
    reason
        Why the others are missing.
    at
        When that was noticed, in nanoseconds since 1970-01-01 UTC.

    Examples
    --------
    >>> known = [Dropped(5, 6, "the buffer was full", 0)]
    >>> [(each.first, each.last) for each in account_for(3, 8, known=known, reason="?", at=0)]
    [(3, 4), (5, 6), (7, 8)]
    """
    found: list[Dropped] = []
    following = first
    for each in known if first <= last else ():
        begin, end = max(each.first, following), min(each.last, last)
        if begin > end:
            continue
        if begin > following:
            found.append(Dropped(following, begin - 1, reason, at))
        found.append(replace(each, first=begin, last=end))
        following = end + 1
    if following <= last:
        found.append(Dropped(following, last, reason, at))
    return found


def missing_before_each(
    frame_ids: Iterable[int], *, following: int, known: Sequence[Dropped], reason: str, at: int
) -> tuple[Dropped, ...]:
    """Return entries for the counters that are missing before and between frames.

    Parameters
    ----------
    frame_ids
        The counters of the frames, going up.
    following
        The counter that comes next; none of the frames has a lower one.
    known, reason, at
        As for `account_for`.
    """
    found: list[Dropped] = []
    for counter in frame_ids:
        if counter > following:
            found += account_for(following, counter - 1, known=known, reason=reason, at=at)
        following = counter + 1
    return tuple(found)
