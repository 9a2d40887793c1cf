"""A port of this machine that leads to a scheduler in a pod.

kubectl forwards it, and ends when its connection does: with a network that was gone for a while, or
with the machine that it went through.  It is started again then, for the same port, so that whoever
speaks to the scheduler finds it where it was.
"""

import asyncio
import contextlib
import logging
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.pool import PoolError
from forebay.cluster.kubernetes.commands import MISSING, last_words, words_of
from forebay.cluster.kubernetes.resources import PORT
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification

_START_SECONDS = 30.0
_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LINES = 3
"""Of what it complains of in weeks, so many at the end are told."""
_MANY_BYTES = 1 << 16
_LISTENS = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")
_log = logging.getLogger("forebay.cluster")


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
        If kubectl does not forward; later it is tried again and again, and told in the log.
    """
    forwarding = _Forwarding(specification, f"service/{resource}-scheduler", log)
    try:
        await forwarding.begin()
        keeping = asyncio.create_task(forwarding.keep())
        try:
            yield forwarding.port
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
    finally:
        await forwarding.end()


class _Forwarding:
    """The kubectl that forwards, and those that come after it."""

    def __init__(
        self, specification: KubernetesClusterSpecification, service: str, log: Path
    ) -> None:
        self._specification = specification
        self._service = service
        self._log = log
        self._process: Process | None = None
        self.port = 0
        """The port of this machine; 0 before there is one."""

    async def begin(self) -> None:
        """Start kubectl, and wait until it forwards.

        Raises
        ------
        ClusterError
            If it does not.
        """
        ports = f"{self.port or ''}:{PORT}"
        words = ["port-forward", self._service, ports, "--address=127.0.0.1"]
        with self._log.open("w") as complaints:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *words_of(self._specification, words),
                    stdin=DEVNULL,
                    stdout=PIPE,
                    stderr=complaints,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise PoolError(MISSING) from error
        try:
            async with asyncio.timeout(_START_SECONDS):
                found = _LISTENS.search(await _output(self._process).readline())
        except TimeoutError:
            found = None
        if found is None:
            raise ClusterError(f"kubectl does not forward a port to {self._service}: {self._why()}")
        self.port = int(found[1])

    async def keep(self) -> None:
        """Start it again whenever it has ended, after a pause that grows while it does not last."""
        clock = asyncio.get_running_loop().time
        pause = _SHORTEST_PAUSE
        while True:
            since, told = clock(), ""
            why = await self._over()
            if clock() - since > _LONGEST_PAUSE:
                pause = _SHORTEST_PAUSE
            while why:
                if told != (told := why):
                    _log.warning(
                        "port %d does not lead to %s any more, it is tried again: %s",
                        self.port,
                        self._service,
                        why,
                    )
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                why = await self._again()
            _log.warning("port %d leads to %s again", self.port, self._service)

    async def _again(self) -> str:
        """Start kubectl once more; return why it does not forward, or nothing if it does."""
        try:
            await self.begin()
        except (ClusterError, OSError) as error:
            await self.end()
            return str(error)
        return ""

    async def _over(self) -> str:
        """Wait until it ends, and return why it did."""
        if self._process is not None:
            # It prints a line for each connection, and would wait for somebody to read them.
            while await _output(self._process).read(_MANY_BYTES):
                pass
            await self._process.wait()
        return f"kubectl has ended: {self._why()}"

    async def end(self) -> None:
        """End it, if it runs."""
        if self._process is None:
            return
        if self._process.returncode is None:
            # SIGTERM is held back from what this loop starts, and there is nothing to be tidied.
            # asyncio's own kill takes the exit code of what has just ended away from asyncio.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._over()
        self._process = None

    def _why(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-_LINES:]
        return last_words("\n".join(lines)) or "it says nothing"


def _output(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise TypeError("kubectl has no output to read")
    return process.stdout
