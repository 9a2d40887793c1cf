"""What policies want to be moved now, and may: as a service asks for it, and a plan shows it."""

from collections.abc import Iterator, Mapping

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.policy import Suggestion, recall_cost, suggestions, why_of
from forebay.tiering.recall_limit import LIMIT_DAYS, RecallLimit
from forebay.tiering.specification import TieringSettings, TierSpecification

_DAY_NS = 86_400 * 10**9


def wanted_now(
    catalogue: Catalogue,
    tiers: Mapping[str, TierSpecification],
    settings: TieringSettings,
    *,
    expected: Mapping[str, int],
) -> tuple[Iterator[Suggestion], RecallLimit]:
    """Return what policies want to be moved, by what the catalogue knows now.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers, by name.
    settings
        The policies.
    expected
        Bytes that tiers have to have room for beside those of the runs, by their names.

    Returns
    -------
    iterator
        What is to move, as far as it is not under way.
    RecallLimit
        What has said which of that costs too much to be recalled now.
    """
    runs, moves = catalogue.runs(), Moves(catalogue.database)
    under_way = {move.run_id for move in moves.find()}
    with catalogue.database.read() as connection:
        now = catalogue.database.now(connection)
    found = suggestions(
        settings.policies,
        tiers,
        runs,
        catalogue.shelves(),
        catalogue.protections(),
        now=now,
        expected=expected,
    )
    limit = RecallLimit(settings.policies, _spent(moves, tiers, settings, now))
    new = (each for each in found if each.run.run_id not in under_way)
    return (each for each in new if limit.allows(each)), limit


def _spent(
    moves: Moves, tiers: Mapping[str, TierSpecification], settings: TieringSettings, now: int
) -> Mapping[str, float]:
    """Return what recalls cost that policies have asked for within the last days."""
    spent: dict[str, float] = {}
    limited = {
        why_of(each.name): each for each in settings.policies if each.recall_cost is not None
    }
    if limited:
        for why, run in moves.asked_since(now - LIMIT_DAYS * _DAY_NS):
            if (policy := limited.get(why)) is not None:
                cost = recall_cost(run, tiers[policy.source])
                spent[policy.name] = spent.get(policy.name, 0.0) + cost
    return spent
