"""What workers are asked of: the batch system, as the keeper sees it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from forebay.cluster.errors import ClusterError


class PoolError(ClusterError):
    """The batch system refuses what it is asked for."""


class PoolSilentError(ClusterError):
    """The batch system does not answer; what it runs may run on."""


class Stage(Enum):
    """How far a job is."""

    WAITING = "waiting"
    """It is in the queue, for the first time or once more."""
    RUNNING = "running"
    """It has its node."""
    OVER = "over"
    """It has ended, whatever the reason."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the batch system tells of it."""

    stage: Stage
    """How far it is."""
    state: str
    """The batch system's own word for it."""
    reason: str = ""
    """Why it waits, or why it ended."""
    node: str = ""
    """Where it runs."""
    seconds_left: float | None = None
    """Time until the batch system ends it; None where it does not, or does not say."""
    given_up: bool = False
    """It was cancelled, by us or by somebody."""


class Pool(Protocol):
    """A batch system that runs jobs, each of which carries workers."""

    async def ask(self, name: str, *, without: Collection[str]) -> str:
        """Submit a job for a worker, not on certain nodes, and return what it is called there.

        Raises
        ------
        PoolError
            If it is refused.
        PoolSilentError
            If there is no answer.
        """

    async def look(self) -> Mapping[str, Seen]:
        """Return all jobs of this cluster, also those that an earlier keeper has left.

        Raises
        ------
        PoolSilentError
            If there is no answer.
        """

    async def give_up(self, jobs: Collection[str]) -> None:
        """Cancel jobs; those that are over already are no matter.

        Raises
        ------
        PoolSilentError
            If there is no answer.
        """

    async def story(self, job: str, name: str) -> str:
        """Return what a job that has ended has said last, in one line."""
