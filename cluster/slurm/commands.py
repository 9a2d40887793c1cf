"""Slurm's own commands, called without waiting for them in the event loop's thread."""

from collections.abc import Sequence

from forebay.cluster.keeping.command import command

_SILENCE = (
    "Unable to contact slurm controller",
    "Connection refused",
    "Connection timed out",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Munge encode failed",
    "Protocol authentication error",
    "Slurm temporarily unable to accept job",
)
"""What Slurm says when it has not done what it was asked for, and may do so later."""


async def slurm(words: Sequence[str], *, given: str | None = None) -> str:
    """Call a command of Slurm's, and return what it prints.

    Raises
    ------
    PoolError
        If it refuses.
    PoolSilentError
        If the controller does not answer.
    """
    return await command(
        words,
        given=given,
        missing=f"there is no {words[0]} here: install Slurm's commands",
        silence=_SILENCE,
        said_in=last_line,
    )


def last_line(text: str) -> str:
    r"""Return what a command of Slurm's complains of, without its own name.

    Examples
    --------
    >>> last_line("sbatch: error: invalid partition specified: x\nsbatch: error: not taken\n")
    'invalid partition specified: x; not taken'
    """
    lines = [line.split("error:", 1)[-1].strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
