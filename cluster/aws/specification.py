"""What a cluster on AWS is to be."""

import re
from abc import ABC
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    ByteSize,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from forebay.cluster.larger import check_ceiling
from forebay.cluster.paid import Orphan, PaidModel
from forebay.cluster.plan import Plan

if TYPE_CHECKING:
    from distributed import Client

OWN_TAGS = "forebay:"
"""What the tags begin with that machines are found by."""
_GIB = 2**30
_FARGATE_MEMORY = {
    256: (0.5, 1, 2),
    512: (1, 2, 3, 4),
    1024: tuple(range(2, 9)),
    2048: tuple(range(4, 17)),
    4096: tuple(range(8, 31)),
    8192: tuple(range(16, 61, 4)),
    16384: tuple(range(32, 121, 8)),
}
"""GiB that a task of Fargate may have, by its CPU units."""


def _like(pattern: str, example: str) -> AfterValidator:
    def check(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise ValueError(f"it must be like {example!r}")
        return given

    return AfterValidator(check)


type _Subnet = Annotated[str, _like(r"subnet-[0-9a-f]+", "subnet-0123456789abcdef0")]
type _Group = Annotated[str, _like(r"sg-[0-9a-f]+", "sg-0123456789abcdef0")]
type _Role = Annotated[
    str, _like(r"arn:[^:]+:iam::\d+:role/.+", "arn:aws:iam::123456789012:role/x")
]


class AwsModel(PaidModel, ABC):
    """What clusters on EC2 and on Fargate have in common."""

    region: Annotated[str, _like(r"[a-z]{2}(-[a-z]+)+-\d", "eu-central-1")] = Field(
        description="Region of AWS."
    )
    image: str = Field(
        min_length=1,
        description="Container image with forebay[aws] in the same version as here.",
    )
    subnets: tuple[_Subnet, ...] = Field(
        min_length=1, description="Subnets; where one has no capacity, the next is asked."
    )
    security_groups: tuple[_Group, ...] = Field(
        min_length=1,
        description="Security groups: they let the machines reach each other on all TCP ports, and "
        "this machine reach port 8786. cluster/deploy/ has a template that makes one.",
    )
    public_address: bool = Field(
        default=False,
        description="Give machines public addresses, for one that is outside of their network.",
    )
    market: Literal["on-demand", "spot", "spot-or-on-demand"] = Field(
        default="on-demand",
        description="How workers are bought; 'spot-or-on-demand' asks for spot capacity first. The "
        "scheduler is always on demand.",
    )
    tags: dict[str, str] = Field(default={}, description="Tags of all that is made on AWS.")
    cost_of_scheduler_per_hour: NonNegativeFloat = Field(
        default=0.0, description="What the machine of the scheduler costs in an hour."
    )
    start_seconds: PositiveFloat = Field(
        default=600.0,
        description="Time in which a machine that was asked for has to join the cluster.",
    )
    orphan_seconds: PositiveFloat = Field(
        default=1200.0,
        description="Time after which a scheduler that no client is connected to ends, and with it "
        "all machines.",
    )

    @field_validator("environment")
    @classmethod
    def _plain(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(f"{name!r} is no name of a variable")
            # They are put into a command of the machine's first boot, word for word.
            if re.search(r"[\"'`$\\\n\r]", value):
                raise ValueError(
                    f"the value of {name} may have no quotes, '$', '`', '\\' or line breaks"
                )
        return environment

    @field_validator("tags")
    @classmethod
    def _not_ours(cls, tags: dict[str, str]) -> dict[str, str]:
        for key in tags:
            if key.startswith((OWN_TAGS, "aws:")) or key in {"Name", "Dask Cluster"}:
                raise ValueError(f"the tag {key!r} is given by forebay or AWS")
        return tags

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.protocol != "tls":
            raise ValueError("machines on AWS speak TLS only: leave protocol out")
        return self

    @property
    def cost_besides_per_hour(self) -> float:
        """What it costs in an hour while it runs, beside its workers."""
        return self.cost_of_scheduler_per_hour

    def plan(self, name: str) -> Plan:
        """Return what would be asked of AWS, and what is missing for it."""
        from forebay.cluster.aws.plan import plan

        return plan(self, name)

    def reap(self, name: str, *, any_site: bool = False, dry_run: bool = False) -> list[Orphan]:
        """End the machines of a cluster whose owner is gone, and remove what else it has left."""
        from forebay.cluster.aws.reap import reap

        return reap(self, name, any_site=any_site, dry_run=dry_run)

    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Join the cluster that runs by that name, or start one for the block."""
        from forebay.cluster.aws.start import connected

        return connected(self, name)

    def kept(self, name: str, stop: Callable[[], None]) -> AbstractContextManager["Client"]:
        """Run the cluster for others to join, for the length of a block."""
        from forebay.cluster.aws.start import started
        from forebay.cluster.keeping.place import standing_place

        return started(self, name, standing_place(self.folder, name), stop=stop)


class Ec2ClusterSpecification(AwsModel):
    """A scheduler and workers, each on an instance of EC2 of its own."""

    kind: Literal["aws-ec2"] = Field(default="aws-ec2", description="Instances of EC2.")
    instance_type: str = Field(description="Type of the workers' instances, such as 'c7i.4xlarge'.")
    scheduler_instance_type: str = Field(
        default="t3.medium", description="Type of the scheduler's instance."
    )
    machine_image: Annotated[str, _like(r"ami-[0-9a-f]+", "ami-0123456789abcdef0")] = Field(
        description="Machine image (AMI) with Docker in it; with NVIDIA's container toolkit for "
        "GPUs."
    )
    instance_profile: str = Field(
        min_length=1,
        description="Name of the instance profile; its role may read the cluster's certificates. "
        "cluster/deploy/ has a template that makes one.",
    )
    spot_price: PositiveFloat | None = Field(
        default=None,
        description="Most that a spot instance may cost in an hour; the on-demand price otherwise.",
    )
    disk: ByteSize = Field(
        default=ByteSize(40 * _GIB), ge=8 * _GIB, description="Size of the encrypted root volume."
    )
    cuda: bool = Field(
        default=False, description="The instances have GPUs: one worker for each (dask-cuda)."
    )
    key_name: str | None = Field(
        default=None, description="Key pair for logging in with SSH; none otherwise."
    )
    larger_instance_types: tuple[str, ...] = Field(
        default=(),
        description="Types that the instance of the worker with memory_ceiling is chosen from: the "
        "one with the least memory that is enough.",
    )

    @model_validator(mode="after")
    def _some_larger(self) -> Self:
        if (self.memory_ceiling is None) != (not self.larger_instance_types):
            raise ValueError(
                "memory_ceiling and larger_instance_types go together: give both, or none"
            )
        if self.memory_ceiling is not None and self.cuda:
            raise ValueError(
                "memory_ceiling needs cuda = false: the memory of an instance with GPUs is divided "
                "between their workers"
            )
        return self

    def larger(self) -> Self | None:
        """Return the one worker of more memory; which type it has is asked of EC2."""
        if self.memory_ceiling is None:
            return None
        from forebay.cluster.aws.larger import larger_type

        return self.with_one(instance_type=larger_type(self), larger_instance_types=())

    @model_validator(mode="after")
    def _spot_only(self) -> Self:
        if self.spot_price is not None and self.market == "on-demand":
            raise ValueError("spot_price would not be used: market is 'on-demand'")
        return self


class FargateClusterSpecification(AwsModel):
    """A scheduler and workers, each a task of Fargate."""

    kind: Literal["aws-fargate"] = Field(default="aws-fargate", description="Tasks of Fargate.")
    ecs_cluster: str = Field(
        min_length=1, description="Name of the ECS cluster that the tasks run in."
    )
    task_role: _Role = Field(
        description="Role of the tasks; it may read the cluster's certificates."
    )
    execution_role: _Role = Field(description="Role that fetches the image and writes the logs.")
    log_group: str = Field(default="forebay", description="Group of CloudWatch for the logs.")
    cpu: PositiveInt = Field(default=4096, description="CPU units of a worker; 1024 for each CPU.")
    memory: ByteSize = Field(default=ByteSize(16 * _GIB), description="Memory of a worker.")
    scheduler_cpu: PositiveInt = Field(default=1024, description="CPU units of the scheduler.")
    scheduler_memory: ByteSize = Field(
        default=ByteSize(4 * _GIB), description="Memory of the scheduler."
    )
    architecture: Literal["X86_64", "ARM64"] = Field(
        default="X86_64", description="What the image is built for."
    )

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        for who, cpu, memory in (
            ("cpu", self.cpu, self.memory),
            ("scheduler_cpu", self.scheduler_cpu, self.scheduler_memory),
        ):
            if cpu not in _FARGATE_MEMORY:
                known = ", ".join(map(str, _FARGATE_MEMORY))
                raise ValueError(f"{who} = {cpu}: Fargate has {known}")
            fitting = _FARGATE_MEMORY[cpu]
            if memory / _GIB not in fitting:
                raise ValueError(
                    f"{who} = {cpu} goes with {fitting[0]:g} to {fitting[-1]:g} GiB of memory in "
                    f"steps of {fitting[1] - fitting[0]:g}, not with {memory / _GIB:g} GiB"
                )
        return self

    @model_validator(mode="after")
    def _higher_ceiling(self) -> Self:
        check_ceiling(self.memory_ceiling, self.memory, "memory")
        if self.memory_ceiling is not None and not self._larger_cpu():
            raise ValueError(
                f"memory_ceiling = {self.memory_ceiling / _GIB:g} GiB: Fargate has no task of that "
                f"memory with {self.cpu} CPU units or more; its largest has 120 GiB, in steps of 8"
            )
        return self

    def _larger_cpu(self) -> int:
        """Return the fewest CPU units that go with the ceiling; 0 if none do."""
        wanted = (self.memory_ceiling or 0) / _GIB
        fitting = (cpu for cpu, some in _FARGATE_MEMORY.items() if wanted in some)
        return min((cpu for cpu in fitting if cpu >= self.cpu), default=0)

    def larger(self) -> Self | None:
        """Return the one worker of more memory, with the CPU units that go with it."""
        if self.memory_ceiling is None:
            return None
        return self.with_one(cpu=self._larger_cpu(), memory=self.memory_ceiling)
