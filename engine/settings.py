"""How jobs are executed, as it stands in the configuration."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from forebay.engine.queue.retry import DEFAULT_RULES, RetryRule

IN_PROCESS = "none"
"""The name of no cluster: the process that runs the job computes."""


def _file_or_module(given: str) -> str:
    if not (given.endswith(".py") or all(part.isidentifier() for part in given.split("."))):
        raise ValueError("it is neither the path of a .py file nor the name of a module")
    return given


def _path_or_url(given: object) -> object:
    """Let a path be one, so that it starts where the file lies that it stands in."""
    return Path(given) if isinstance(given, str) and given and "://" not in given else given


class LaneSettings(BaseModel):
    """What a lane is promised of a service's workers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    guaranteed: float = Field(
        ge=0.0, le=1.0, description="Part of the workers that is its own whenever it has work."
    )
    lent: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="Part of what it does not use that others may borrow; the rest is kept free.",
    )
    most: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="Part of the workers that it may have at the most, with what it borrows.",
    )


class EngineSettings(BaseModel):
    """How jobs are executed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: str = Field(
        default="local",
        description="The cluster that computes: its name in the table clusters, or 'none' for the "
        "process that runs the job.",
    )
    units_in_flight_per_worker: PositiveInt = Field(
        default=2,
        description="Units that are handed out at a time, for each one that a worker computes.",
    )
    ledger: Annotated[Path | str, BeforeValidator(_path_or_url)] | None = Field(
        default=None,
        description="The queue and ledger that everybody shares: the path of an SQLite file, or an "
        "SQLAlchemy URL such as 'postgresql+psycopg://user@host/forebay' (the password from "
        "~/.pgpass or PGPASSWORD); 'ledger.sqlite' in the folder of the results if not given.",
    )
    lease_seconds: float = Field(
        default=30.0,
        ge=1.0,
        le=3600.0,
        description="Silence of a service after which others take over what it works on.",
    )
    ageing_seconds: float = Field(
        default=600.0,
        ge=1.0,
        description="Time without a turn after which a job moves up by one lane, for one unit.",
    )
    unit_seconds: float | None = Field(
        default=None,
        gt=0.0,
        description="Longest time that a worker may be at a unit; then it is stopped.",
    )
    storage_seconds: float = Field(
        default=86_400.0,
        ge=0.0,
        description="Longest time that a result waits for storage that is full, read-only or gone; "
        "then its units fail.",
    )
    lanes: dict[Literal["realtime", "validation", "reprocess"], LaneSettings] = Field(
        default={},
        description="How the workers are divided between lanes, by the name of the lane; a running "
        "service takes a change up at once. Without it, what is more urgent goes first.",
    )
    most_retries: NonNegativeInt = Field(
        default=10,
        description="Retries after which a unit is a dead letter, whatever the rules say; 0 for "
        "none.",
    )
    retries: tuple[RetryRule, ...] = Field(
        default=DEFAULT_RULES,
        description="What becomes of units that fail: the first rule that fits decides.",
    )
    algorithm_modules: tuple[Annotated[str, AfterValidator(_file_or_module)], ...] = Field(
        default=(),
        description="Paths of .py files, or names of modules, that are imported so that their "
        "algorithms are registered.",
    )

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        promised = sum(each.guaranteed for each in self.lanes.values())
        if promised > 1.0 + 1e-9:
            raise ValueError(
                f"lanes: {promised:g} of the workers are guaranteed together, and there is 1"
            )
        return self
