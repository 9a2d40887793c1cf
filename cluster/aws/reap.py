"""Ending what a cluster that is gone has left on AWS."""

from collections.abc import Iterable
from typing import Any

from forebay.cluster.aws import certificates
from forebay.cluster.aws.account import asking, client, need_libraries
from forebay.cluster.aws.owner import (
    CLUSTER_TAG,
    REQUEST_TAG,
    SITE_TAG,
    START_TAG,
    Owner,
    dead_starts,
    forget,
    lives,
)
from forebay.cluster.aws.specification import (
    AwsModel,
    Ec2ClusterSpecification,
    FargateClusterSpecification,
)
from forebay.cluster.keeping.site import site_of
from forebay.cluster.paid import Orphan

_COSTS = ("pending", "running", "stopping", "stopped")


def reap(
    specification: AwsModel, name: str, *, any_site: bool = False, dry_run: bool = False
) -> list[Orphan]:
    """End the machines of a cluster whose owner is gone, and remove what else it has left.

    What is given and returned is as of `PaidModel.reap`.
    """
    need_libraries()
    folder = specification.folder
    site = site_of(folder)
    found = _ec2(specification, name) if isinstance(specification, Ec2ClusterSpecification) else []
    if isinstance(specification, FargateClusterSpecification):
        found = _fargate(specification, name)
    orphans = [
        each
        for each in found
        if (each.site == site and not lives(folder, name, each.start))
        or (any_site and each.site != site)
    ]
    if dry_run:
        return orphans
    if orphans:
        _end(specification, orphans)
    spending = specification.spending(name)
    for each in orphans:
        # Its owner may have died before it could write down what came of its request.
        spending.began(each.request, each.machine)
    spending.ended([each.machine for each in orphans])
    gone = {*(each.start for each in orphans), *dead_starts(folder, name)}
    there = {each.machine for each in found} - {each.machine for each in orphans}
    for charge in spending.running():
        if charge.start not in gone and lives(folder, name, charge.start):
            continue
        if charge.machine is None:
            # Its answer was never written down; what came of it was found by its tags.
            spending.refused(charge.token)
        elif charge.machine not in there:
            spending.ended([charge.machine])
    for start in sorted(gone):
        owner = Owner(name, site, start)
        certificates.withdraw(owner, specification.region)
        if isinstance(specification, FargateClusterSpecification):
            from forebay.cluster.aws.fargate import remove_definitions

            remove_definitions(specification, owner)
        forget(folder, name, start)
    return orphans


def _ec2(specification: Ec2ClusterSpecification, name: str) -> list[Orphan]:
    ec2 = client("ec2", specification.region)
    filters = [
        {"Name": f"tag:{CLUSTER_TAG}", "Values": [name]},
        {"Name": "instance-state-name", "Values": list(_COSTS)},
    ]
    with asking("which instances there are"):
        pages = list(ec2.get_paginator("describe_instances").paginate(Filters=filters))
    return [
        _orphan(
            instance["InstanceId"],
            ((tag["Key"], tag["Value"]) for tag in instance["Tags"]),
            instance["InstanceType"],
            instance["LaunchTime"],
        )
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]


def _fargate(specification: FargateClusterSpecification, name: str) -> list[Orphan]:
    ecs = client("ecs", specification.region)
    found = []
    with asking("which tasks there are"):
        pages = ecs.get_paginator("list_tasks").paginate(cluster=specification.ecs_cluster)
        for page in pages:
            if not page["taskArns"]:
                continue
            answer = ecs.describe_tasks(
                cluster=specification.ecs_cluster, tasks=page["taskArns"], include=["TAGS"]
            )
            for task in answer["tasks"]:
                tags = {tag["key"]: tag["value"] for tag in task.get("tags", [])}
                if tags.get(CLUSTER_TAG) == name and task["lastStatus"] != "STOPPED":
                    size = f"{task.get('cpu', '?')} CPU units"
                    began = task.get("createdAt", "")
                    found.append(_orphan(task["taskArn"], tags.items(), size, began))
    return found


def _orphan(machine: str, tags: Iterable[tuple[str, str]], kind: str, began: Any) -> Orphan:
    given = dict(tags)
    at = began.isoformat(timespec="seconds") if hasattr(began, "isoformat") else str(began)
    return Orphan(
        machine,
        given.get(START_TAG, ""),
        given.get(SITE_TAG, ""),
        kind,
        at,
        given.get(REQUEST_TAG, ""),
    )


def _end(specification: AwsModel, orphans: list[Orphan]) -> None:
    if isinstance(specification, Ec2ClusterSpecification):
        ec2 = client("ec2", specification.region)
        with asking("to end instances"):
            ec2.terminate_instances(InstanceIds=[each.machine for each in orphans])
    if not isinstance(specification, FargateClusterSpecification):
        return
    ecs = client("ecs", specification.region)
    with asking("to stop tasks"):
        for each in orphans:
            ecs.stop_task(
                cluster=specification.ecs_cluster,
                task=each.machine,
                reason="its cluster is gone",
            )
