"""What has been found out about a machine."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How something stands."""

    OK = "ok"
    """As it is wanted."""
    BETTER = "could be better"
    """It works, and costs throughput or time."""
    WRONG = "wrong"
    """It will fail, or lose frames, under load."""
    UNKNOWN = "cannot be told"
    """The machine does not say."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a machine, judged for its role."""

    check: str
    """What was looked at."""
    subject: str
    """Which one, where there are several: a disk, an interface, a GPU."""
    verdict: Verdict
    """How it stands."""
    found: str
    """How it is; why it cannot be told."""
    wanted: str
    """How it should be."""
    why: str
    """Why that matters."""
    mend: str
    """What to do about it."""
    reads: tuple[str, ...]
    """Where it was looked for."""
