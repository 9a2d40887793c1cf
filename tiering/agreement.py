"""What tiers, policies and the cache must agree on, each with the others."""

import functools
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from forebay.tiering.specification import CacheSpecification, PolicySpecification, TierSpecification


def check_places(tiers: Mapping[str, TierSpecification]) -> None:
    """Refuse tiers that share a place.

    Parameters
    ----------
    tiers
        The tiers by name.

    Raises
    ------
    ValueError
        If two of them do.

    Examples
    --------
    >>> hot = TierSpecification(url="/data/runs")
    >>> check_places({"hot": hot, "warm": TierSpecification(url="/data")})
    Traceback (most recent call last):
    ValueError: tiers 'hot' (/data/runs) and 'warm' (/data) share a place: ...
    """
    for name, tier in tiers.items():
        for other, beside in tiers.items():
            if name < other and _share(tier.url, beside.url):
                raise ValueError(
                    f"tiers {name!r} ({tier.shown}) and {other!r} ({beside.shown}) share a place: "
                    "deleting in one would delete in the other; give each its own"
                )


def check_cache(cache: CacheSpecification | None, tiers: Mapping[str, TierSpecification]) -> None:
    """Refuse a cache that shares a place with a tier.

    Parameters
    ----------
    cache
        The cache, if there is one.
    tiers
        The tiers by name.

    Raises
    ------
    ValueError
        If it does.
    """
    for name, tier in tiers.items():
        if cache is not None and _share(cache.folder, tier.url):
            raise ValueError(
                f"the cache ({cache.folder}) and the tier {name!r} ({tier.shown}) share a place: "
                "what is evicted must not be what is kept; give the cache its own folder"
            )


def check_policies(
    policies: Sequence[PolicySpecification], tiers: Mapping[str, TierSpecification]
) -> None:
    """Refuse policies that cannot be carried out, or that would never end.

    Parameters
    ----------
    policies
        The policies.
    tiers
        The tiers by name.

    Raises
    ------
    ValueError
        If one names no tier, or some of them move a run round and round.
    """
    names: set[str] = set()
    for policy in policies:
        if policy.name in names:
            raise ValueError(
                f"two policies are called {policy.name!r}: a move tells by that name who wanted it"
            )
        names.add(policy.name)
        for key, end in (("from", policy.source), ("to", policy.target)):
            if end not in tiers:
                known = ", ".join(tiers) or "none"
                raise ValueError(
                    f"policy {policy.name!r}: {key} = {end!r} is no tier; there are {known}"
                )
        _check_recalls(policy, tiers[policy.source])
    for place, policy in enumerate(policies):
        for before in policies[:place]:
            if _covers(before, policy):
                raise ValueError(
                    f"policy {policy.name!r} never decides: {before.name!r} before it fits every "
                    "run that it fits; drop one of them, or change their order"
                )
    for policy in policies:
        circle = _way_back([policy], policies)
        if circle and not all(each.keep for each in circle):
            together = ", ".join(repr(each.name) for each in circle)
            raise ValueError(
                f"policies {together} move the same runs round and round, without end: drop one"
            )


def check_copies(
    policies: Sequence[PolicySpecification],
    tiers: Mapping[str, TierSpecification],
    min_copies: int,
) -> None:
    """Refuse policies that would delete a copy for which there can never be enough others.

    Raises
    ------
    ValueError
        If there are too few tiers for that.
    """
    if min_copies < len(tiers):
        return
    for policy in policies:
        if not policy.keep:
            raise ValueError(
                f"policy {policy.name!r} would never end: min_copies = {min_copies} other copies "
                f"have to be there before one goes, and there are {len(tiers)} tiers; add tiers, "
                "lower min_copies, or set keep"
            )


def _check_recalls(policy: PolicySpecification, source: TierSpecification) -> None:
    if source.recall is None:
        if policy.recall_cost is not None:
            raise ValueError(
                f"policy {policy.name!r} has a recall_cost, and {policy.source!r} is no archive: "
                "what lies there is read at once"
            )
    elif source.recall.cost(10**9, 1) > 0 and policy.recall_cost is None:
        raise ValueError(
            f"policy {policy.name!r} moves runs out of the archive {policy.source!r}, and recalls "
            "cost: set its recall_cost to what they may cost within 30 days"
        )


def _covers(policy: PolicySpecification, other: PolicySpecification) -> bool:
    """Tell whether a policy fits every run that another one fits."""
    return (
        policy.source == other.source
        and policy.data in {"both", other.data}
        and policy.when == "always"
        and policy.state in {"any", other.state}
        and not re.search(r"[?[]", policy.runs)
        and fnmatchcase(other.runs, policy.runs)
        and policy.older_than_days <= other.older_than_days
        and policy.unread_days <= other.unread_days
        and policy.larger_than <= other.larger_than
    )


def _way_back(
    way: list[PolicySpecification], moving: Sequence[PolicySpecification]
) -> list[PolicySpecification]:
    """Return policies that take a run along `way` and back to where it began; none is best."""
    for following in moving:
        if following.source != way[-1].target or following in way:
            continue
        if not all(_overlap(following.runs, each.runs) for each in way):
            continue
        if len({each.data for each in (*way, following)} - {"both"}) > 1:
            continue
        if following.target == way[0].source:
            return [*way, following]
        if circle := _way_back([*way, following], moving):
            return circle
    return []


def _overlap(one: str, other: str) -> bool:
    """Tell whether a name can fit two patterns; what stands in brackets is taken for any text."""
    first, second = (re.sub(r"\[[^]]+\]", "?", each) for each in (one, other))

    @functools.cache
    def meet(start: int, begin: int) -> bool:
        here, there = first[start : start + 1], second[begin : begin + 1]
        if not here and not there:
            return True
        if here == "*":
            return meet(start + 1, begin) or (bool(there) and meet(start, begin + 1))
        if there == "*":
            return meet(start, begin + 1) or (bool(here) and meet(start + 1, begin))
        same = bool(here and there) and (here == there or "?" in {here, there})
        return same and meet(start + 1, begin + 1)

    return meet(0, 0)


def _share(one: Path | str, other: Path | str) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        # Two names of one place may be a folder's and a link's.
        first, second = one.resolve(), other.resolve()
        return first == second or first in second.parents or second in first.parents
    if isinstance(one, str) and isinstance(other, str):
        first_url, second_url = f"{one}/", f"{other}/"
        return first_url.startswith(second_url) or second_url.startswith(first_url)
    return False
