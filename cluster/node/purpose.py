"""What a machine is for."""

from collections.abc import Mapping
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


type Reason = str | Mapping[Role, str]
"""Why something matters, in a sentence: the same for each role that it matters to, or one for each."""


def reason_for(role: Role, reason: Reason) -> str:
    """Return why something matters to a role.

    Examples
    --------
    >>> reason_for(Role.STORAGE, {Role.COMPUTE: "Units wait.", Role.STORAGE: "Readers wait."})
    'Readers wait.'
    """
    return reason if isinstance(reason, str) else reason[role]


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
