"""What would be asked of ECS, and what is missing for it."""

from forebay.cluster.aws.account import asking, client, need_libraries
from forebay.cluster.aws.definitions import ON_DEMAND, SPOT, definition
from forebay.cluster.aws.owner import Owner
from forebay.cluster.aws.plan import network_problems, shown
from forebay.cluster.aws.specification import FargateClusterSpecification
from forebay.cluster.errors import ClusterError


def facts(specification: FargateClusterSpecification) -> list[tuple[str, str]]:
    """Return what it would be, for people."""
    return [
        ("ECS cluster", specification.ecs_cluster),
        ("size of a worker", _size(specification.cpu, specification.memory)),
        (
            "size of the scheduler",
            _size(specification.scheduler_cpu, specification.scheduler_memory),
        ),
        ("market", specification.market),
        ("role of the tasks", specification.task_role),
        ("logs", specification.log_group),
        *_larger_facts(specification),
    ]


def _larger_facts(specification: FargateClusterSpecification) -> list[tuple[str, str]]:
    larger = specification.larger()
    return [] if larger is None else specification.larger_facts(_size(larger.cpu, larger.memory))


def _size(cpu: int, memory: int) -> str:
    return f"{cpu / 1024:g} CPUs, {memory / 2**30:g} GiB"


def request(specification: FargateClusterSpecification, name: str) -> str:
    """Return the definition of a worker's task, and how it would be run."""
    need_libraries()
    owner = Owner(name, site="(the site)", start="(the start)")
    return shown(
        {
            "registerTaskDefinition": definition(specification, owner, "worker"),
            "runTask": {
                "cluster": specification.ecs_cluster,
                "capacityProvider": ON_DEMAND if specification.market == "on-demand" else SPOT,
                "subnets": specification.subnets,
                "securityGroups": specification.security_groups,
                "assignPublicIp": "ENABLED" if specification.public_address else "DISABLED",
            },
        }
    )


def problems(specification: FargateClusterSpecification, name: str) -> list[str]:  # noqa: ARG001
    """Return what is missing, asking AWS without starting anything."""
    region, wanted = specification.region, specification.ecs_cluster
    with asking(f"about the ECS cluster {wanted}"):
        answer = client("ecs", region).describe_clusters(clusters=[wanted])
    found = []
    if not any(each["status"] == "ACTIVE" for each in answer["clusters"]):
        found.append(f"there is no active ECS cluster {wanted!r} in {region}")
    found += network_problems(specification)
    for role in (specification.task_role, specification.execution_role):
        try:
            with asking(f"about the role {role}"):
                client("iam", region).get_role(RoleName=role.rsplit("/", 1)[-1])
        except ClusterError as error:
            found.append(str(error))
    with asking("about the group for the logs"):
        groups = client("logs", region).describe_log_groups(
            logGroupNamePrefix=specification.log_group
        )
    if specification.log_group not in {each["logGroupName"] for each in groups["logGroups"]}:
        found.append(f"there is no log group {specification.log_group!r} in {region}")
    return found
