"""Which type of instances a worker has for what needs its memory."""

from typing import TYPE_CHECKING

from forebay.cluster.aws.account import asking, client
from forebay.cluster.errors import ClusterError

if TYPE_CHECKING:
    from forebay.cluster.aws.specification import Ec2ClusterSpecification


def larger_type(specification: "Ec2ClusterSpecification") -> str:
    """Return the type with the least memory of those that have as much as the ceiling.

    Raises
    ------
    ClusterError
        If none of them has, if the other workers have as much, or if EC2 does not answer.
    """
    ceiling, usual = specification.memory_ceiling or 0, specification.instance_type
    types = sorted({usual, *specification.larger_instance_types})
    with asking("how much memory types of instances have"):
        answer = client("ec2", specification.region).describe_instance_types(InstanceTypes=types)
    memory = {
        each["InstanceType"]: each["MemoryInfo"]["SizeInMiB"] << 20
        for each in answer["InstanceTypes"]
    }
    if memory.get(usual, 0) >= ceiling:
        raise ClusterError(
            f"memory_ceiling = {_gib(ceiling)} is not above the {_gib(memory[usual])} of "
            f"{usual}: give more, or leave it out"
        )
    fitting = [
        (memory[each], each)
        for each in specification.larger_instance_types
        if memory.get(each, 0) >= ceiling
    ]
    if not fitting:
        known = ", ".join(
            f"{each} has {_gib(memory.get(each, 0))}"
            for each in specification.larger_instance_types
        )
        raise ClusterError(
            f"none of larger_instance_types has memory_ceiling = {_gib(ceiling)} ({known}): name a "
            "larger one, or a lower ceiling"
        )
    return min(fitting)[1]


def _gib(memory: int) -> str:
    return f"{memory / 2**30:.3g} GiB"
