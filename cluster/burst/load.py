"""A load that was recorded: when which work came, how long it took, and where its data lay."""

import json
from collections.abc import Collection, Iterable, Iterator
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
    places: tuple[str, ...] = ()
    """The folders or buckets that copies of its data lie in; empty where that is not known."""
    deadline: float | None = None
    """When it had to be done, in seconds of the same clock."""
    done: float | None = None
    """When it was done, in seconds of the same clock; None where that is not known."""


def lying_there(units: Iterable[LoadUnit], begin: Collection[str]) -> list[LoadUnit]:
    """Return units of which it is known whether their data lie at the costlier cluster.

    Parameters
    ----------
    units
        The units.
    begin
        How locations begin whose data that cluster reaches as fast as its own.

    Examples
    --------
    >>> unit = LoadUnit(at=0, seconds=1, places=("/data/runs", "s3://archive/2026"))
    >>> [each.there for each in lying_there([unit], ["s3://archive"])]
    [True]
    """
    known = tuple(begin)
    return [
        unit.model_copy(update={"there": True})
        if any(place.startswith(known) for place in unit.places)
        else unit
        for unit in units
    ]


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
