"""Slurm's own commands, called without waiting for them in the event loop's thread."""

import asyncio
from collections.abc import Sequence

from forebay.cluster.keeping.pool import PoolError, PoolSilentError

ANSWER_SECONDS = 30.0
"""Time in which a command has to answer; Slurm's own time-outs are 10 s, and it tries again."""

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
    command = words[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A Ctrl-C at the terminal is for us.
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise PoolError(f"there is no {command} here: install Slurm's commands") from error
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            out, err = await process.communicate(None if given is None else given.encode())
    except TimeoutError as error:
        raise PoolSilentError(
            f"Slurm has not answered {command} within {ANSWER_SECONDS:g} s"
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = last_line(err.decode(errors="replace")) or f"exit code {process.returncode}"
        kind = PoolSilentError if any(each in said for each in _SILENCE) else PoolError
        raise kind(f"{command}: {said}")
    return out.decode(errors="replace")


def last_line(text: str) -> str:
    r"""Return what a command of Slurm's complains of, without its own name.

    Examples
    --------
    >>> last_line("sbatch: error: invalid partition specified: x\nsbatch: error: not taken\n")
    'invalid partition specified: x; not taken'
    """
    lines = [line.split("error:", 1)[-1].strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
