"""What a cluster of Slurm jobs is to be."""

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    ByteSize,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from forebay.cluster.larger import check_ceiling
from forebay.cluster.model import ElasticModel
from forebay.cluster.plan import Plan
from forebay.cluster.slurm.walltime import seconds_of

if TYPE_CHECKING:
    from distributed import Client

_SHORTEST_LIFE = 5.0
"""Seconds of work that a job has to leave room for."""


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("it must be one line")
    return text


def _time(text: str) -> str:
    # Slurm rounds to minutes, and a worker takes seconds to start.
    if seconds_of(text) < 60:
        raise ValueError("Slurm counts in minutes: give at least 00:01:00")
    return text


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w.:,@%+&|()\[\]*=-]+", text):
        raise ValueError("it must be one word")
    return text


Word = Annotated[str, AfterValidator(_word)]
Line = Annotated[str, AfterValidator(_one_line)]


class SlurmClusterSpecification(ElasticModel):
    """Workers that are jobs of a Slurm cluster, asked for as there is work for them."""

    kind: Literal["slurm"] = Field(default="slurm", description="Workers are Slurm jobs.")
    memory_limit: ByteSize = Field(description="Memory of one worker, such as '16 GiB'.")
    memory_ceiling: ByteSize | None = Field(
        default=None,
        description="Memory of one more worker, such as '128 GiB', for which a job is submitted "
        "while there are units for which the others have not enough; none is if not given.",
    )
    workers_per_job: PositiveInt = Field(
        default=1, description="Worker processes that share a job, and so a node."
    )
    gpus_per_worker: NonNegativeInt = Field(
        default=0, description="GPUs that each job asks for, as the generic resource 'gpu'."
    )
    partition: Word | None = Field(
        default=None, description="Partition of the jobs; Slurm's default where not given."
    )
    account: Word | None = Field(default=None, description="Account that is charged.")
    constraint: Word | None = Field(default=None, description="Features that a node must have.")
    walltime: Annotated[str, AfterValidator(_time)] = Field(
        default="01:00:00", description="Longest time of a job, as HH:MM:SS or D-HH:MM:SS."
    )
    margin_seconds: PositiveFloat = Field(
        default=120.0,
        description="Time before the end of a job at which it takes no more units; longer than "
        "a unit takes.",
    )
    stagger_seconds: NonNegativeFloat = Field(
        default=30.0,
        description="Jobs leave by up to so much earlier, each by another time, so that not all "
        "of them do so at once.",
    )
    most_waiting: PositiveInt = Field(
        default=16, description="Jobs that wait in Slurm's queue at the most."
    )
    start_seconds: PositiveFloat = Field(
        default=120.0, description="Time in which the worker of a job that runs has to report."
    )
    interface: Word | None = Field(
        default=None,
        description="Network interface of scheduler and workers, such as 'ib0'; 'lo' for a Slurm "
        "on one machine.",
    )
    directives: tuple[Line, ...] = Field(
        default=(), description="More options of sbatch, such as '--qos=low'."
    )
    prologue: tuple[Line, ...] = Field(
        default=(), description="Lines of shell before the worker, such as 'module load cuda'."
    )
    python: Line = Field(
        default=sys.executable,
        description="The Python of the workers; may be the command of a container, such as "
        "'apptainer exec --nv forebay.sif python'.",
    )

    @model_validator(mode="after")
    def _some_life(self) -> Self:
        left = seconds_of(self.walltime) - self.margin_seconds - self.stagger_seconds
        if left < _SHORTEST_LIFE:
            raise ValueError(
                f"walltime = {self.walltime} leaves no time for work beside margin_seconds = "
                f"{self.margin_seconds:g} and stagger_seconds = {self.stagger_seconds:g}: give a "
                "longer walltime, or less of these"
            )
        return self

    @model_validator(mode="after")
    def _higher_ceiling(self) -> Self:
        check_ceiling(self.memory_ceiling, self.memory_limit)
        return self

    @property
    def larger(self) -> "SlurmClusterSpecification | None":
        """The one worker of more memory, as a cluster of its own; None if there is to be none."""
        if self.memory_ceiling is None:
            return None
        changes = {
            "memory_limit": self.memory_ceiling,
            "memory_ceiling": None,
            "workers_per_job": 1,
            "threads_per_worker": 1,
            "minimum_workers": 0,
            "maximum_workers": 1,
        }
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _gpus_of_one(self) -> Self:
        if self.gpus_per_worker and self.workers_per_job > 1:
            raise ValueError(
                "workers_per_job must be 1 where gpus_per_worker is given: Slurm itself gives each "
                "job its GPUs"
            )
        return self

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.protocol == "tcp" and self.interface != "lo":
            raise ValueError(
                "protocol = 'tcp' would send frames and code over the network in the clear: leave "
                "it at 'tls' (interface = 'lo' alone, a Slurm on one machine, may do without)"
            )
        return self

    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Join the cluster that runs by that name, or start one for the block."""
        from forebay.cluster.slurm.start import connected

        return connected(self, name)

    def kept(self, name: str, stop: Callable[[], None]) -> AbstractContextManager["Client"]:
        """Run the cluster for others to join, under its name, for the length of a block."""
        from forebay.cluster.keeping.place import standing_place
        from forebay.cluster.slurm.start import started

        return started(self, name, standing_place(self.folder, name), stop=stop)

    def plan(self, name: str) -> Plan:
        """Return the job script and what is missing for it; nothing is submitted."""
        from forebay.cluster.slurm.check import plan

        return plan(self, name)
