"""What a job tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from forebay.engine.unit import Unit


@dataclass(frozen=True, slots=True)
class RunGrown:
    """The job has seen so many frames of the run."""

    frames: int
    """Committed frames."""
    closed: bool
    """Whether the run is whole."""


@dataclass(frozen=True, slots=True)
class UnitSkipped:
    """A unit is done already."""

    unit: Unit
    """The unit."""


@dataclass(frozen=True, slots=True)
class UnitPublished:
    """A unit's part is published."""

    unit: Unit
    """The unit."""
    rows: int | None
    """Rows of its table; None for arrays."""
    seconds: float
    """How long a worker was at it."""
    latency: float
    """Seconds from the unit's last frame to the published part."""


@dataclass(frozen=True, slots=True)
class UnitFailed:
    """A unit could not be computed."""

    unit: Unit
    """The unit."""
    error: str
    """Why, in one line."""
    traceback: str
    """Where it was raised."""


@dataclass(frozen=True, slots=True)
class UnitRetried:
    """A unit could not be computed, and is tried again."""

    unit: Unit
    """The unit."""
    error: str
    """Why, in one line."""


@dataclass(frozen=True, slots=True)
class RunRecalled:
    """Of a run, what lies in an archive is asked for."""

    told: str
    """How much, what it costs, and how long it takes, in one sentence."""


type JobEvent = RunGrown | RunRecalled | UnitSkipped | UnitPublished | UnitRetried | UnitFailed

type Observer = Callable[[JobEvent], None]
"""Called from the thread that runs the job."""
