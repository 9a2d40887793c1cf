"""What a cluster on this machine is to be."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ByteSize, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from forebay.cluster.larger import check_ceiling
from forebay.cluster.model import ClusterModel
from forebay.cluster.plan import Plan

if TYPE_CHECKING:
    from distributed import Client


class LocalClusterSpecification(ClusterModel):
    """Workers on this machine, started for one command and ended with it."""

    forks = True

    kind: Literal["local"] = Field(default="local", description="Workers on this machine.")
    workers: PositiveInt | None = Field(
        default=None, description="Number of workers; one for each CPU where it is not given."
    )
    threads_per_worker: PositiveInt = Field(
        default=1, description="Units that a worker computes at once."
    )
    memory_limit: Literal["auto"] | ByteSize = Field(
        default="auto",
        description="Memory of one worker, such as '2 GiB'; 'auto' is its share of the machine's.",
    )
    memory_ceiling: ByteSize | None = Field(
        default=None,
        description="Memory of one more worker, such as '16 GiB', that is started for units for "
        "which the others have not enough; none is if not given.",
    )
    processes: bool = Field(
        default=True, description="A process for each worker, rather than threads of this process."
    )
    start_seconds: PositiveFloat = Field(
        default=60.0, description="Seconds in which all workers have to report."
    )
    dashboard: bool = Field(
        default=False, description="Serve the Dask dashboard, on a free port of 127.0.0.1 only."
    )

    @field_validator("memory_limit")
    @classmethod
    def _some_memory(cls, memory: str | ByteSize) -> str | ByteSize:
        if memory != "auto" and int(memory) <= 0:
            raise ValueError("a worker needs more than 0 bytes")
        return memory

    @model_validator(mode="after")
    def _higher_ceiling(self) -> Self:
        check_ceiling(
            self.memory_ceiling,
            None if self.memory_limit == "auto" else ByteSize(self.memory_limit),
        )
        return self

    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Start the workers; they end with the block."""
        from forebay.cluster.local.start import start

        return start(self, name)

    def plan(self, name: str) -> Plan:  # noqa: ARG002
        """Return what would be started on this machine."""
        from forebay.cluster.local.start import plan

        return plan(self)
