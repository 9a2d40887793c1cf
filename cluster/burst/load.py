"""A load that was recorded: when which work came, how long it took, and where its data lay."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forebay.cluster.errors import ClusterError


class LoadUnit(BaseModel):
    """A unit of work in a recorded load: a line of JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Annotated[float, Field(ge=0)]
    """When it could be begun, in seconds of any clock: since 1970-01-01 UTC in a recorded load."""
    seconds: Annotated[float, Field(gt=0)]
    """How long a thread was at it."""
    lane: str = "reprocess"
    """Its lane."""
    bytes: Annotated[int, Field(ge=0)] = 0
    """What it read."""
    there: bool = False
    """Whether its data lay at the costlier cluster already."""
    deadline: float | None = None
    """When it had to be done, in seconds of the same clock."""
    done: float | None = None
    """When it was done, in seconds of the same clock; None where that is not known."""


def read_load(path: Path) -> list[LoadUnit]:
    """Read a load from a file with a unit of work on each line, in the order of their coming.

    Raises
    ------
    ClusterError
        If the file cannot be read, or a line is no unit.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"the load {path} cannot be read: {error}") from error
    units = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            units.append(LoadUnit.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise ClusterError(
                f"line {number} of {path} is no unit of work: {where}: {first['msg']}; a line is "
                'like {"at": 0.5, "seconds": 12, "bytes": 1048576}'
            ) from error
    if not units:
        raise ClusterError(f"there is no work in {path}")
    return sorted(units, key=lambda unit: unit.at)


def load_lines(units: Iterable[LoadUnit]) -> Iterator[str]:
    """Return the lines of a file with a load."""
    for unit in units:
        yield json.dumps(unit.model_dump(exclude_defaults=True))
