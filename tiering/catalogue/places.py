"""Tiers by the names that the catalogue has for their folders."""

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.schema import RUNS, SHELVES
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.tiers import Tiers


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
    recorded = (
        sa.select(RUNS.c.home, SHELVES.c.path)
        .join(SHELVES, SHELVES.c.run_id == RUNS.c.run_id)
        .where(SHELVES.c.tier == tier, SHELVES.c.home)
        .order_by(SHELVES.c.shelf)
        .limit(1)
    )
    with catalogue.database.read() as connection:
        found = connection.execute(recorded).first()
    if found is None or not found.home.endswith(f"/{found.path}"):
        return None
    return Path(found.home.removesuffix(f"/{found.path}"))
