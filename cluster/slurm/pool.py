"""Slurm's queue, as the keeper sees it."""

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from forebay.cluster.keeping.pool import PoolError, PoolSilentError, Seen, Stage
from forebay.cluster.slurm.commands import slurm
from forebay.cluster.slurm.walltime import printed_seconds

_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
_RUNNING = frozenset(
    # What completes may still be put back into the queue.
    {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"}
)
_NOT_ITS_FAULT = frozenset({"CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})
_LOG_BYTES = 20_000
_STORY_CHARACTERS = 300
_WORTH_TELLING = re.compile(
    r"error|not found|no such|no module|denied|cannot|can't|exceed|killed|refused|fatal",
    re.IGNORECASE,
)


class SlurmPool:
    """The jobs of one cluster in Slurm's queue.

    Parameters
    ----------
    job_name
        What all jobs are called.
    tag
        The comment by which the jobs of this cluster are known.
    logs
        Folder where the jobs write what they say.
    script
        Gives the script of the job for a worker.
    """

    def __init__(
        self, *, job_name: str, tag: str, logs: Path, script: Callable[[str], str]
    ) -> None:
        self._job_name = job_name
        self._tag = tag
        self._logs = logs
        self._script = script

    async def ask(self, name: str, *, without: Collection[str]) -> str:
        """Submit a job for a worker, not on certain nodes, and return its number."""
        words = ["sbatch", "--parsable"]
        if without:
            words.append(f"--exclude={','.join(sorted(without))}")
        said = await slurm(words, given=self._script(name))
        number = said.strip().partition(";")[0]
        if not number.isdigit():
            raise PoolError(f"sbatch was to print the number of a job, and printed {said!r}")
        return number

    async def look(self) -> Mapping[str, Seen]:
        """Return all jobs of this cluster."""
        words = ["squeue", "--noheader", "--me", "--states=all", f"--name={self._job_name}"]
        try:
            said = await slurm([*words, "--format=%i|%T|%L|%N|%k|%r"])
        except PoolError as error:
            # Whatever it is that is wrong, what runs is not known now.
            raise PoolSilentError(str(error)) from error
        return {
            number: seen
            for line in said.splitlines()
            if (parsed := parse(line, self._tag)) is not None
            for number, seen in [parsed]
        }

    async def give_up(self, jobs: Collection[str]) -> None:
        """Cancel jobs."""
        if not jobs:
            return
        try:
            await slurm(["scancel", "--quiet", *sorted(jobs)])
        except PoolError:
            # One of them is over, which scancel calls an error; the next look tells what is left.
            return

    async def story(self, job: str, name: str) -> str:  # noqa: ARG002
        """Return the last line that a job has written and that tells of a failure."""
        return await asyncio.to_thread(told_in, self._logs / f"{job}.log")


def parse(line: str, tag: str) -> tuple[str, Seen] | None:
    """Return number and state of a job from a line of squeue's; None if it is none of ours.

    Examples
    --------
    >>> parse("7|PENDING|10:00||forebay:ab|Resources", "forebay:ab")[1].stage
    <Stage.WAITING: 'waiting'>
    >>> parse("8|RUNNING|1:59|n1|forebay:ab|None", "forebay:ab")[1].seconds_left
    119.0
    >>> parse("9|RUNNING|1:59|n1|other|None", "forebay:ab")
    """
    number, state, left, node, comment, reason = line.split("|", 5)
    if comment != tag:
        return None
    if state in _WAITING:
        stage = Stage.WAITING
    elif state in _RUNNING:
        stage = Stage.RUNNING
    else:
        stage = Stage.OVER
    return number, Seen(
        stage,
        state,
        "" if reason in {"None", ""} else reason,
        node,
        printed_seconds(left) if stage is Stage.RUNNING else None,
        state in _NOT_ITS_FAULT,
    )


def told_in(log: Path) -> str:
    """Return the last line in a job's log that tells of a failure; the last one if none does."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _WORTH_TELLING.search(line)]
    line = (telling or lines or [""])[-1]
    return line if len(line) <= _STORY_CHARACTERS else f"{line[:_STORY_CHARACTERS]}…"
