"""Workers with more memory than the others, started for units that have run out of it.

A cluster whose specification gives a ``memory_ceiling`` has at most one of them at a time, of so
much memory, as long as there is a unit that needs it.  It offers its memory as a resource of
Dask's, so that what needs more than the others have waits at the scheduler until it has come.
"""

from typing import Any

from pydantic import ByteSize

RESOURCE = "MEMORY"
"""Dask's resource in which such a worker offers its memory, in bytes."""
CEILING = "forebay-memory-ceiling"
"""The scheduler's metadata that says how much that is."""
_ANSWER_SECONDS = 30.0


def memory_ceiling(client: Any) -> int | None:
    """Return the bytes of memory of a worker that can be started for a unit; None for none.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """

    async def ask() -> Any:
        return await client.scheduler.get_metadata(keys=[CEILING], default=None)

    found = client.sync(ask, callback_timeout=_ANSWER_SECONDS)
    return None if found is None else int(found)


def larger_options(memory: str) -> dict[str, Any]:
    """Return the options of Dask's worker for one that offers what memory it has.

    Parameters
    ----------
    memory
        Bytes, or 'auto' for all of the machine.

    Examples
    --------
    >>> larger_options("1024")
    {'memory_limit': 1024, 'resources': {'MEMORY': 1024}}
    """
    from distributed.system import MEMORY_LIMIT

    limit = int(MEMORY_LIMIT) if memory == "auto" else int(memory)
    return {"memory_limit": limit, "resources": {RESOURCE: limit}}


def check_ceiling(
    ceiling: ByteSize | None, memory: ByteSize | None, setting: str = "memory_limit"
) -> None:
    """Refuse a ceiling that is not above the memory of the other workers, as a setting says it.

    Raises
    ------
    ValueError
        If it is not.
    """
    if ceiling is not None and memory is not None and ceiling <= memory:
        raise ValueError(
            f"memory_ceiling = {int(ceiling)} bytes is not above {setting} = {int(memory)} "
            "bytes: give more, or leave it out"
        )
