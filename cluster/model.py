"""What every kind of cluster has in common: its fields, and what can be asked of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from forebay.cluster.errors import ClusterError
from forebay.cluster.plan import Plan
from forebay.cluster.sizing import Limits

if TYPE_CHECKING:
    from distributed import Client


class ClusterModel(BaseModel, ABC):
    """A kind of cluster.

    A new kind is a folder with a model that descends from this one, and a line in
    `forebay.cluster.specification`.  The model itself imports nothing heavy: what it takes to
    start such a cluster is imported when it is asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    forks: ClassVar[bool] = False
    """Whether its workers are forked from a process that has imported what they need."""

    kind: str
    cost_per_worker_hour: NonNegativeFloat | None = Field(
        default=None,
        description="What one worker costs in an hour, in the same currency for all clusters.",
    )

    @abstractmethod
    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Start or join the cluster for the length of a block; see `forebay.cluster.connect`."""

    @abstractmethod
    def plan(self, name: str) -> Plan:
        """Return what would be asked for, and what is missing; nothing is started."""

    def kept(
        self,
        name: str,
        stop: Callable[[], None],  # noqa: ARG002
    ) -> AbstractContextManager["Client"]:
        """Run the cluster for others to join, under its name, for the length of a block.

        Parameters
        ----------
        name
            What it is called.
        stop
            Called, from any thread, when somebody asks the cluster to end.

        Raises
        ------
        ClusterError
            If it cannot be, or if this kind is not kept running by itself.
        """
        raise ClusterError(
            f"the cluster {name} of kind {self.kind} is not started by itself: commands that use "
            "it start it, or find it running"
        )

    @property
    def place(self) -> Path | None:
        """The folder of all such clusters that run; None where nothing is written down."""
        return None


class ElasticModel(ClusterModel, ABC):
    """A kind of cluster whose workers come and go with the work that there is."""

    minimum_workers: NonNegativeInt = Field(
        default=0, description="Workers that are kept when there is no work."
    )
    maximum_workers: PositiveInt = Field(description="Workers that there are at the most.")
    threads_per_worker: PositiveInt = Field(
        default=1, description="Units that a worker computes at once."
    )
    work_seconds: PositiveFloat = Field(
        default=300.0,
        description="Time in which all work that waits is to be done: with more of it, workers "
        "are added.",
    )
    idle_seconds: PositiveFloat = Field(
        default=600.0, description="Time without work after which a worker is given back."
    )
    failed_starts: PositiveInt = Field(
        default=3,
        description="Workers that fail in a row, as they start, before no more are asked for.",
    )
    look_seconds: PositiveFloat = Field(
        default=5.0, description="Time between two looks at what there is and what is wanted."
    )
    protocol: Literal["tls", "tcp"] = Field(
        default="tls",
        description="How scheduler and workers speak: 'tcp', in the clear, is for one machine.",
    )
    environment: dict[str, str] = Field(
        default={}, description="Variables of the workers' environment; no secrets."
    )
    folder: Path = Field(
        default=Path("clusters"),
        description="Folder, which the workers see too, where a running cluster keeps its address, "
        "certificates and logs.",
    )

    @property
    def place(self) -> Path:
        """The folder of all such clusters that run."""
        return self.folder

    @property
    def limits(self) -> Limits:
        """Between what the number of workers may be, and how eagerly it follows the work."""
        return Limits(
            self.minimum_workers,
            self.maximum_workers,
            self.threads_per_worker,
            self.work_seconds,
            self.idle_seconds,
        )

    @model_validator(mode="after")
    def _room_between(self) -> "ElasticModel":
        if self.minimum_workers > self.maximum_workers:
            raise ValueError(
                f"minimum_workers = {self.minimum_workers} are more than "
                f"maximum_workers = {self.maximum_workers}"
            )
        return self
