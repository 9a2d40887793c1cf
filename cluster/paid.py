"""What clusters have in common whose workers cost money: when they are used, and how much."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ByteSize, Field, NonNegativeFloat, PositiveFloat, model_validator

from forebay.cluster.burst.settings import BurstSettings
from forebay.cluster.model import ElasticModel
from forebay.cluster.spending import Charge, Spending


@dataclass(frozen=True, slots=True)
class Orphan:
    """Something that costs money, and whose cluster is gone."""

    machine: str
    """Instance of EC2, task of Fargate, or resource of Kubernetes."""
    start: str
    """The start of the cluster that asked for it."""
    site: str
    """The site that asked for it."""
    kind: str
    """What it is: type of instance, size of the task, or kind of resource."""
    began: str
    """When it was started, in UTC."""
    request: str = ""
    """What the request for it was known by."""


class PaidModel(ElasticModel, ABC):
    """A kind of cluster whose workers cost money while they are there."""

    budget_per_day: PositiveFloat | None = Field(
        default=None,
        description="What all machines together may cost in a day (UTC); then none is added.",
    )
    burst: BurstSettings | None = Field(
        default=None,
        description="When this cluster is used beside another one; whenever there is work if not "
        "given.",
    )

    memory_ceiling: ByteSize | None = Field(
        default=None,
        description="Memory of one more worker, such as '128 GiB', that is asked for while there "
        "are units for which the others have not enough; none is if not given.",
    )
    cost_of_larger_per_hour: NonNegativeFloat | None = Field(
        default=None, description="What that worker costs in an hour."
    )

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.budget_per_day is not None and self.cost_per_worker_hour is None:
            raise ValueError("budget_per_day needs cost_per_worker_hour, to know what is spent")
        if self.memory_ceiling is None and self.cost_of_larger_per_hour is not None:
            raise ValueError(
                "cost_of_larger_per_hour needs memory_ceiling: there is no such worker"
            )
        if (
            self.memory_ceiling is not None
            and self.cost_of_larger_per_hour is None
            and self.budget_per_day is not None
        ):
            raise ValueError(
                "budget_per_day with memory_ceiling needs cost_of_larger_per_hour, to know what is "
                "spent"
            )
        return self

    @property
    def cost_besides_per_hour(self) -> float:
        """What it costs in an hour while it runs, beside its workers."""
        return 0.0

    @abstractmethod
    def larger(self) -> Self | None:
        """Return the one worker of more memory, as a cluster of its own; None without a ceiling.

        Raises
        ------
        ClusterError
            If there can be none of that size, or if who knows does not answer.
        """

    def with_one(self, **changes: Any) -> Self:
        """Return a cluster of one worker for what needs its memory, whatever the burst rule says."""
        return self.model_copy(
            update={
                "memory_ceiling": None,
                "cost_of_larger_per_hour": None,
                "cost_per_worker_hour": self.cost_of_larger_per_hour,
                "threads_per_worker": 1,
                "minimum_workers": 0,
                "maximum_workers": 1,
                "burst": None,
                **changes,
            }
        )

    def larger_facts(self, size: str) -> list[tuple[str, str]]:
        """Return what is said of that worker to people; nothing where there is none."""
        if self.memory_ceiling is None:
            return []
        cost = self.cost_of_larger_per_hour
        return [("one larger worker", size if cost is None else f"{size}, {cost:g} an hour")]

    @abstractmethod
    def reap(self, name: str, *, any_site: bool = False, dry_run: bool = False) -> list[Orphan]:
        """End what a cluster has left whose owner is gone.

        Parameters
        ----------
        name
            What the cluster is called.
        any_site
            Also what other sites have started: whether their owners live is not known here.
        dry_run
            Only look.

        Returns
        -------
        list of Orphan
            What was ended, or would be.

        Raises
        ------
        ClusterError
            If there is no answer, or it is not allowed.
        """

    def spending(self, name: str) -> Spending:
        """Return the record of what the cluster has cost; it is made when there is none."""
        return Spending(self.place / name / "spending.sqlite")

    def charges(self, name: str) -> list[Charge]:
        """Return what the cluster was charged for; looking makes no record."""
        there = (self.place / name / "spending.sqlite").exists()
        return self.spending(name).charges() if there else []

    def money(self, name: str) -> list[tuple[str, str]]:
        """Return what is known of the day's budget, to be shown; nothing if there is none."""
        if self.budget_per_day is None:
            return []
        spent = self.spending(name).today() if self.charges(name) else 0.0
        return [
            ("budget of a day", f"{self.budget_per_day:g}"),
            ("spent today", f"{spent:.2f}"),
        ]
