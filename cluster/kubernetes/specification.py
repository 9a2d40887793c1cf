"""What a cluster on Kubernetes is to be."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeInt,
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

_GIB = 2**30


def _name(given: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", given):
        raise ValueError("a name of Kubernetes has a-z, 0-9, '-' and '.', such as 'imaging'")
    return given


type Name = Annotated[str, AfterValidator(_name)]
type _Memory = Annotated[ByteSize, Field(gt=0)]


class Toleration(BaseModel):
    """A taint of nodes that pods put up with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1, description="Key of the taint, such as 'nvidia.com/gpu'.")
    operator: Literal["Exists", "Equal"] = Field(
        default="Exists", description="Whether any value is tolerated, or one."
    )
    value: str | None = Field(default=None, description="The value, for 'Equal'.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The effect that is tolerated; any where not given."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("operator = 'Equal' needs a value, and 'Exists' takes none")
        return self


class KubernetesClusterSpecification(PaidModel):
    """A scheduler and workers in pods, which the Dask operator makes."""

    kind: Literal["kubernetes"] = Field(
        default="kubernetes", description="Pods of Kubernetes, made by the Dask operator."
    )
    image: str = Field(
        min_length=1, description="Container image with forebay in the same version as here."
    )
    namespace: Name = Field(default="default", description="Namespace of all that is made.")
    context: str | None = Field(
        default=None,
        description="Context of kubectl's configuration; its current one if not given.",
    )
    cpu: PositiveFloat = Field(default=1.0, description="CPUs of a worker.")
    memory: _Memory = Field(description="Memory of a worker's pod, such as '16 GiB'.")
    gpus: NonNegativeInt = Field(
        default=0,
        description="GPUs of a worker's pod (nvidia.com/gpu): one Dask worker for each.",
    )
    scheduler_cpu: PositiveFloat = Field(default=1.0, description="CPUs of the scheduler.")
    scheduler_memory: _Memory = Field(
        default=ByteSize(2 * _GIB), description="Memory of the scheduler."
    )
    claims: dict[Name, Path] = Field(
        default={},
        description="Persistent volume claims, each with the folder where workers see it: runs "
        "and results have the same paths there as here.",
    )
    service_account: Name | None = Field(
        default=None, description="Service account of the pods; the namespace's own if not given."
    )
    image_pull_secrets: tuple[Name, ...] = Field(
        default=(), description="Secrets with which the image is fetched."
    )
    node_selector: dict[str, str] = Field(
        default={}, description="Labels that the workers' nodes must have."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), description="Taints of nodes that the workers put up with."
    )
    inside: bool = Field(
        default=False,
        description="This process runs in a pod of the same Kubernetes, and reaches services by "
        "their names; else it forwards a port of the scheduler's.",
    )
    start_seconds: PositiveFloat = Field(
        default=600.0, description="Time in which a pod that runs has to join the cluster."
    )
    most_waiting: PositiveInt = Field(
        default=16, description="Pods that wait for a node at the most."
    )

    @field_validator("claims")
    @classmethod
    def _somewhere(cls, claims: dict[str, Path]) -> dict[str, Path]:
        for claim, folder in claims.items():
            if not folder.is_absolute():
                raise ValueError(f"the folder of the claim {claim!r} must begin with '/'")
        return claims

    @field_validator("environment")
    @classmethod
    def _variables(cls, environment: dict[str, str]) -> dict[str, str]:
        for name in environment:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(f"{name!r} is no name of a variable")
        return environment

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.protocol != "tls":
            raise ValueError("pods speak TLS only: leave protocol out")
        return self

    @model_validator(mode="after")
    def _higher_ceiling(self) -> Self:
        check_ceiling(self.memory_ceiling, self.memory, "memory")
        return self

    def larger(self) -> Self | None:
        """Return the one worker of more memory; a pod with a GPU has one of them."""
        if self.memory_ceiling is None:
            return None
        return self.with_one(memory=self.memory_ceiling, gpus=min(self.gpus, 1))

    def reap(self, name: str, *, any_site: bool = False, dry_run: bool = False) -> list[Orphan]:
        """Remove the resources of a cluster whose owner is gone."""
        from forebay.cluster.kubernetes.reap import reap

        return reap(self, name, any_site=any_site, dry_run=dry_run)

    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Join the cluster that runs by that name, or start one for the block."""
        from forebay.cluster.kubernetes.start import connected

        return connected(self, name)

    def kept(self, name: str, stop: Callable[[], None]) -> AbstractContextManager["Client"]:
        """Run the cluster for others to join, under its name, for the length of a block."""
        from forebay.cluster.keeping.place import standing_place
        from forebay.cluster.kubernetes.start import started

        return started(self, name, standing_place(self.folder, name), stop=stop)

    def plan(self, name: str) -> Plan:
        """Return the resources as YAML, and what is missing for them; nothing is made."""
        from forebay.cluster.kubernetes.check import plan

        return plan(self, name)
