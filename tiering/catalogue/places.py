"""Tiers by the names that the catalogue has for their folders."""

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.schema import RUNS, SHELVES
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.tiers import Tiers

_MOST_SHELVES = 1000


def tiers_as_known(catalogue: Catalogue, specifications: Mapping[str, TierSpecification]) -> Tiers:
    """Return tiers, each folder by the name that the catalogue knows it by.

    Two configurations may lead to one folder by links of different names.  It is one place all the
    same, and what lies in it is known by one path.

    Parameters
    ----------
    catalogue
        The catalogue.
    specifications
        What is configured, by name.
    """
    tiers = Tiers(specifications)
    known = dict(specifications)
    for tier in tiers:
        if tier.folder is None:
            continue
        folder = _known_folder(catalogue, tier.name)
        if folder not in {None, tier.folder} and folder.resolve() == tier.folder.resolve():
            known[tier.name] = tier.specification.model_copy(update={"url": folder})
    return Tiers(known)


def _known_folder(catalogue: Catalogue, tier: str) -> Path | None:
    """Return the folder of a tier, as it is called in the path of something recorded there."""
    # Of a tier to which millions were moved, and nothing was recorded into, not all are looked at.
    some = (
        sa.select(SHELVES.c.run_id, SHELVES.c.path, SHELVES.c.home)
        .where(SHELVES.c.tier == tier)
        .limit(_MOST_SHELVES)
        .subquery()
    )
    recorded = (
        sa.select(RUNS.c.home, some.c.path)
        .join(some, some.c.run_id == RUNS.c.run_id)
        .where(some.c.home)
        .limit(1)
    )
    with catalogue.database.read() as connection:
        found = connection.execute(recorded).first()
    if found is None or not found.home.endswith(f"/{found.path}"):
        return None
    return Path(found.home.removesuffix(f"/{found.path}"))
