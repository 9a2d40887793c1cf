"""What a machine is for."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a machine does; several may do all of it."""

    ACQUISITION = "acquisition"
    """Takes frames from cameras and records them."""
    COMPUTE = "compute"
    """Works on units, with or without GPUs."""
    STORAGE = "storage"
    """Keeps runs and results, and hands them out."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """A role, and what the configuration says of the machine that has it."""

    role: Role
    """What the machine does."""
    interfaces: tuple[str, ...] = ()
    """Network interfaces that carry frames; none to look at all that are fast."""
    cores: tuple[int, ...] = ()
    """Processor cores that a recording runs on; none where it runs on any."""
    group: str = "forebay"
    """The users that raised limits are for."""
