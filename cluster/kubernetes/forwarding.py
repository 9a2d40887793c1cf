"""A port of this machine that leads to a scheduler in a pod."""

import asyncio
import contextlib
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path

from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.pool import PoolError
from forebay.cluster.kubernetes.commands import MISSING, last_words, words_of
from forebay.cluster.kubernetes.resources import PORT
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification

_START_SECONDS = 30.0
_LISTENS = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")


@contextlib.asynccontextmanager
async def forwarded(
    specification: KubernetesClusterSpecification, resource: str, log: Path
) -> AsyncIterator[int]:
    """Let kubectl forward a free port of 127.0.0.1 to a scheduler for the length of a block.

    Parameters
    ----------
    specification
        What the cluster is.
    resource
        What its resource is called.
    log
        File for what kubectl complains of.

    Yields
    ------
    int
        The port.

    Raises
    ------
    ClusterError
        If kubectl does not forward.
    """
    service = f"service/{resource}-scheduler"
    words = words_of(specification, ["port-forward", service, f":{PORT}", "--address=127.0.0.1"])
    with log.open("w") as complaints:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=DEVNULL, stdout=PIPE, stderr=complaints, start_new_session=True
            )
        except FileNotFoundError as error:
            raise PoolError(MISSING) from error
    said = process.stdout
    if said is None:
        raise TypeError("kubectl has no output to read")
    reading: asyncio.Task[bytes] | None = None
    try:
        try:
            async with asyncio.timeout(_START_SECONDS):
                found = _LISTENS.search(await said.readline())
        except TimeoutError:
            found = None
        if found is None:
            why = last_words(log.read_text(errors="replace")) or "it says nothing"
            raise ClusterError(f"kubectl does not forward a port to {service}: {why}")
        # It prints a line for each connection, and would wait for somebody to read them.
        reading = asyncio.create_task(said.read())
        yield int(found[1])
    finally:
        if process.returncode is None:
            # SIGTERM is held back from what this loop starts, and there is nothing to be tidied.
            process.kill()
        await process.wait()
        if reading is not None:
            await reading
