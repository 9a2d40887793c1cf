"""How many threads a cluster of Slurm jobs has, and when those come that it waits for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from forebay.cluster.slurm.commands import slurm


@dataclass(frozen=True, slots=True)
class QueueState:
    """The jobs of one cluster, as Slurm tells of them."""

    threads: int = 0
    """CPUs of the jobs that run."""
    coming: int = 0
    """CPUs of the jobs that wait, and whose beginning Slurm foresees."""
    wait_seconds: float = 0.0
    """Time until the last of these begins."""


async def queue_state(cluster: str, *, now: Callable[[], datetime] = datetime.now) -> QueueState:
    """Ask Slurm about the jobs of a cluster.

    Parameters
    ----------
    cluster
        What the cluster is called in the settings.
    now
        The time here, as Slurm tells it: local, without a time zone.

    Raises
    ------
    PoolError
        If Slurm refuses, or is not here.
    PoolSilentError
        If it does not answer.
    """
    words = ["squeue", "--noheader", "--me", f"--name=forebay-{cluster}", "--format=%T|%C|%S"]
    return parse_queue(await slurm(words), now())


def parse_queue(said: str, now: datetime) -> QueueState:
    r"""Return the state of a queue from what squeue prints: state, CPUs and beginning of each job.

    Examples
    --------
    >>> now = datetime(2026, 11, 21, 12, 0)
    >>> parse_queue("RUNNING|8|2026-11-21T11:00:00\nPENDING|4|2026-11-21T12:10:00\n", now)
    QueueState(threads=8, coming=4, wait_seconds=600.0)

    What Slurm does not foresee is not counted upon:

    >>> parse_queue("PENDING|4|N/A\n", now)
    QueueState(threads=0, coming=0, wait_seconds=0.0)
    """
    threads = coming = 0
    wait = 0.0
    for line in filter(None, said.splitlines()):
        state, cpus, begins = line.strip().split("|")
        if state == "RUNNING":
            threads += int(cpus)
        elif state == "PENDING" and begins != "N/A":
            coming += int(cpus)
            wait = max(wait, (datetime.fromisoformat(begins) - now).total_seconds())
    return QueueState(threads, coming, wait)
