"""When a costlier cluster is used, as it stands in the configuration."""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from forebay.cluster.burst.choice import Choice
from forebay.cluster.burst.rule import BurstRules

type _Rate = Annotated[ByteSize, Field(gt=0)]


class BurstSettings(BaseModel):
    """When work goes to this cluster too, beside the one that it would have all to itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lanes: tuple[Literal["realtime", "validation", "reprocess"], ...] = Field(
        default=("realtime", "validation", "reprocess"),
        min_length=1,
        description="Lanes whose work goes to this cluster too; that of others waits for its own.",
    )
    threads_here: PositiveInt = Field(
        description="Threads of the cluster that does the work otherwise."
    )
    most_wait_seconds: PositiveFloat = Field(
        default=3600.0, description="Wait of the work above which workers are asked for."
    )
    calm_wait_seconds: NonNegativeFloat = Field(
        default=600.0, description="Wait below which they are given back."
    )
    looks: PositiveInt = Field(
        default=4, description="Looks in a row that have to agree before workers are asked for."
    )
    cool_down_seconds: NonNegativeFloat = Field(
        default=900.0, description="Time for which workers are kept, once they were asked for."
    )
    step: PositiveInt = Field(default=4, description="Workers that are added at a time.")
    price_ceiling: PositiveFloat | None = Field(
        default=None, description="Price of a worker-hour above which none is asked for."
    )
    bytes_per_second: _Rate = Field(
        default=ByteSize(100 * 2**20), description="How fast data get to this cluster."
    )
    data_there: tuple[str, ...] = Field(
        default=(),
        description="How locations begin whose data this cluster reaches as fast as its own, such "
        "as 's3://archive': they need no moving.",
    )
    slurm: str | None = Field(
        default=None,
        description="Name of the Slurm cluster that does the work otherwise: how many threads it "
        "has, and when more come, is asked of Slurm, in place of threads_here.",
    )
    start_seconds: PositiveFloat = Field(
        default=180.0, description="Time from asking for a worker to its first unit."
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.calm_wait_seconds > self.most_wait_seconds / 2:
            raise ValueError(
                f"calm_wait_seconds = {self.calm_wait_seconds:g} must be at the most half of "
                f"most_wait_seconds = {self.most_wait_seconds:g}, or workers would come and go"
            )
        return self

    def choice(self, *, threads_here: int) -> Choice:
        """Return which work goes there, beside a cluster of so many threads."""
        return Choice(
            lanes=self.lanes,
            bytes_per_second=float(self.bytes_per_second),
            threads_here=max(1, threads_here),
            data_there=self.data_there,
        )

    def rules(self, *, maximum_workers: int, budget: float | None) -> BurstRules:
        """Return the bounds of the rule, for a cluster of that size and budget."""
        return BurstRules(
            most_wait_seconds=self.most_wait_seconds,
            calm_wait_seconds=self.calm_wait_seconds,
            looks=self.looks,
            cool_down_seconds=self.cool_down_seconds,
            maximum_workers=maximum_workers,
            step=self.step,
            price_ceiling=self.price_ceiling,
            budget=budget,
            bytes_per_second=float(self.bytes_per_second),
            start_seconds=self.start_seconds,
        )
