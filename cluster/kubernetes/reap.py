"""Removing what a cluster that is gone has left on Kubernetes."""

import asyncio
import json

from forebay.cluster.keeping.place import (
    abandoned,
    passing_places,
    remove,
    standing_place,
)
from forebay.cluster.keeping.site import site_of
from forebay.cluster.kubernetes.commands import kubectl
from forebay.cluster.kubernetes.owner import CLUSTER_LABEL, SITE_LABEL, START_LABEL, owner_of
from forebay.cluster.kubernetes.removal import CLUSTERS, GROUPS, remove_start
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.paid import Orphan


def reap(
    specification: KubernetesClusterSpecification,
    name: str,
    *,
    any_site: bool = False,
    dry_run: bool = False,
) -> list[Orphan]:
    """Remove the resources of a cluster whose owner is gone.

    What is given and returned is as of `PaidModel.reap`.
    """
    folder = specification.folder
    site = site_of(folder)
    found = asyncio.run(_found(specification, name))
    # Looked at after what was found: who has made something has had its folder before.
    standing = standing_place(folder, name)
    places = [*([standing] if standing.is_taken else []), *passing_places(folder, name)]
    living = {owner_of(name, place).start for place in places}
    orphans = [
        each
        for each in found
        if (each.site == site and each.start not in living) or (any_site and each.site != site)
    ]
    if dry_run:
        return orphans
    left = abandoned(folder, name)
    dead = {owner_of(name, place).start for place in [standing, *left]} - living
    asyncio.run(_remove(specification, name, dead | {each.start for each in orphans}))
    spending = specification.spending(name)
    for start in {each.start for each in spending.running()} - living:
        spending.over(start)
    for place in left:
        remove(place)
    return orphans


async def _found(specification: KubernetesClusterSpecification, name: str) -> list[Orphan]:
    """Return schedulers and workers of a cluster; its secrets are nobody's to read."""
    label = f"--selector={CLUSTER_LABEL}={name}"
    said = await kubectl(specification, "get", f"{CLUSTERS},{GROUPS}", label, "-o", "json")
    return [
        Orphan(
            each["metadata"]["name"],
            each["metadata"]["labels"].get(START_LABEL, ""),
            each["metadata"]["labels"].get(SITE_LABEL, ""),
            each["kind"],
            str(each["metadata"].get("creationTimestamp", "")),
        )
        for each in json.loads(said)["items"]
    ]


async def _remove(
    specification: KubernetesClusterSpecification, name: str, starts: set[str]
) -> None:
    for start in sorted(starts):
        await remove_start(specification, name, start, "--wait=false")
