"""How jobs are executed, as it stands in the configuration."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

IN_PROCESS = "none"
"""The name of no cluster: the process that runs the job computes."""


def _file_or_module(given: str) -> str:
    if not (given.endswith(".py") or all(part.isidentifier() for part in given.split("."))):
        raise ValueError("it is neither the path of a .py file nor the name of a module")
    return given


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
    algorithm_modules: tuple[Annotated[str, AfterValidator(_file_or_module)], ...] = Field(
        default=(),
        description="Paths of .py files, or names of modules, that are imported so that their "
        "algorithms are registered.",
    )
