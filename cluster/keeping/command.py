"""A command of a batch system, called without waiting for it in the event loop's thread."""

import asyncio
from collections.abc import Callable, Sequence

from forebay.cluster.keeping.pool import PoolError, PoolSilentError

ANSWER_SECONDS = 30.0
"""Time in which a command has to answer; Slurm's own time-outs are 10 s, and it tries again."""


async def command(
    words: Sequence[str],
    *,
    given: str | None = None,
    missing: str,
    silence: Sequence[str],
    said_in: Callable[[str], str],
) -> str:
    """Call a command, and return what it prints.

    Parameters
    ----------
    words
        The command and its arguments.
    given
        What it reads.
    missing
        What to say where there is no such command.
    silence
        What it says when the other side has not answered, and may do so later.
    said_in
        Returns the complaint in what it has printed as it failed.

    Raises
    ------
    PoolError
        If it refuses.
    PoolSilentError
        If the other side does not answer.
    """
    name = words[0]
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
        raise PoolError(missing) from error
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            out, err = await process.communicate(None if given is None else given.encode())
    except TimeoutError as error:
        raise PoolSilentError(f"{name} has not answered within {ANSWER_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = said_in(err.decode(errors="replace")) or f"exit code {process.returncode}"
        kind = PoolSilentError if any(each in said for each in silence) else PoolError
        raise kind(f"{name}: {said}")
    return out.decode(errors="replace")
