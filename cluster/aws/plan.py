"""What would be asked of AWS, word for word, and what is missing; nothing is started."""

import json
from typing import Any

from forebay.cluster.aws.account import asking, client
from forebay.cluster.aws.specification import AwsModel, Ec2ClusterSpecification
from forebay.cluster.errors import ClusterError
from forebay.cluster.plan import Plan

_ANSWER_SECONDS = 10.0
"""Seconds in which AWS, which knows it by heart, has to say who asks."""


def plan(specification: AwsModel, name: str) -> Plan:
    """Return what would be asked of AWS, and what is missing for it."""
    part = _part(specification)
    facts = [
        ("region", specification.region),
        *part.facts(specification),
        ("image", specification.image),
        ("workers", f"{specification.minimum_workers} to {specification.maximum_workers}"),
        ("threads of each", str(specification.threads_per_worker)),
        *specification.money(name),
    ]
    submitted = ""
    problems: list[str] = []
    try:
        submitted = part.request(specification, name)
        check_credentials(specification)
        problems = part.problems(specification, name)
    except ClusterError as error:
        problems = [str(error)]
    return Plan(
        tuple(facts),
        submitted=submitted,
        problems=tuple(problems),
        workers=(specification.minimum_workers, specification.maximum_workers),
        cost_per_worker_hour=specification.cost_per_worker_hour,
        cost_besides_per_hour=specification.cost_besides_per_hour,
    )


def _part(specification: AwsModel) -> Any:
    if isinstance(specification, Ec2ClusterSpecification):
        from forebay.cluster.aws import ec2_plan

        return ec2_plan
    from forebay.cluster.aws import fargate_plan

    return fargate_plan


def check_credentials(specification: AwsModel) -> None:
    """Make sure that AWS knows who asks.

    Raises
    ------
    ClusterError
        If it does not.
    """
    with asking("who we are"):
        # The first question of all: whoever has no way to AWS is told so soon.
        sts = client("sts", specification.region, attempts=2, seconds=_ANSWER_SECONDS)
        sts.get_caller_identity()


def network_problems(specification: AwsModel) -> list[str]:
    """Return what is wrong with the subnets and the security groups."""
    ec2 = client("ec2", specification.region)
    problems = []
    for question, fields in (
        ("describe_subnets", {"SubnetIds": list(specification.subnets)}),
        ("describe_security_groups", {"GroupIds": list(specification.security_groups)}),
    ):
        try:
            with asking(f"about {', '.join(*fields.values())}"):
                getattr(ec2, question)(**fields)
        except ClusterError as error:
            problems.append(str(error))
    return problems


def shown(content: Any) -> str:
    """Return a request in a form for people and programs."""
    return json.dumps(content, indent=2)
