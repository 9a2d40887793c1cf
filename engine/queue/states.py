"""The states of jobs and units; the words are part of the tables."""

from enum import StrEnum


class JobState(StrEnum):
    """How a job stands."""

    WAITING = "waiting"
    """For other jobs to end."""
    READY = "ready"
    """Its units are worked on as there is room."""
    PAUSED = "paused"
    """None of its units is begun."""
    DONE = "done"
    """Everything is published."""
    FAILED = "failed"
    """Everything that could be computed is published; the rest are dead letters."""
    CANCELLED = "cancelled"
    """Nothing is computed for it any more."""

    @property
    def told(self) -> str:
        """What is said of a job in this state.

        Examples
        --------
        >>> f"job 3 {JobState.FAILED.told}"
        'job 3 has failed'
        """
        match self:
            case JobState.FAILED:
                return "has failed"
            case JobState.CANCELLED:
                return "was cancelled"
            case _:
                return f"is {self}"


class UnitState(StrEnum):
    """How a unit stands."""

    WAITING = "waiting"
    """For the unit before it, whose state it needs."""
    READY = "ready"
    """To be taken."""
    DEFERRED = "deferred"
    """To be taken when there is time: later frames of an instrument went first."""
    LEASED = "leased"
    """Held by a service, which has not begun with it."""
    RUNNING = "running"
    """Held by a service, which has given it to a worker."""
    FAILED = "failed"
    """To be tried again, later."""
    DONE = "done"
    """Published."""
    DEAD = "dead"
    """Tried often enough; kept with the cause."""
    CANCELLED = "cancelled"
    """Nobody wants it any more."""
    SUPERSEDED = "superseded"
    """Of frames that were lost and taken anew; another unit is in its place."""


ENDED_JOBS = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
"""States that jobs stay in."""

OPEN_UNITS = (
    UnitState.WAITING,
    UnitState.READY,
    UnitState.DEFERRED,
    UnitState.LEASED,
    UnitState.RUNNING,
    UnitState.FAILED,
)
"""States of units that are still to be worked on."""

HELD_UNITS = (UnitState.LEASED, UnitState.RUNNING)
"""States of units that a service holds."""
