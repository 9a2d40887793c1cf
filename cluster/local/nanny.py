"""What starts the process of a local worker, and can be told to give it up while it starts.

Dask's own waits for as long as it was told to at its making, whoever closes the cluster meanwhile,
and leaves the process there if that time is over: a child that still comes then finds nothing of
what it was to talk to its parent with.
"""

import asyncio
import logging
from typing import Any, Self

from distributed import Nanny
from distributed.core import Status

from forebay.cluster.client import line_of

_log = logging.getLogger("forebay.cluster")


class Closing(asyncio.Event):
    """Set when a cluster is to end."""

    def __deepcopy__(self, _: object) -> Self:
        # dask-cuda copies the options of each worker, and all of them wait for the same.
        return self


class LocalNanny(Nanny):
    """A nanny whose worker has to be there in time.

    Parameters
    ----------
    start_seconds
        Time in which a process has to report.
    closing
        Set when the cluster is to end: what has not reported yet is killed.
    options
        Those of `distributed.Nanny`.
    """

    def __init__(
        self, *arguments: Any, start_seconds: float, closing: Closing, **options: Any
    ) -> None:
        # A local cluster gives its workers dashboards wherever bokeh is installed.
        super().__init__(*arguments, **{**options, "dashboard": False})
        self._start_seconds = start_seconds
        self._closing = closing

    async def start_unsafe(self) -> Any:
        """Start the worker; where that fails, the cluster finds it closed, and starts another."""
        try:
            return await super().start_unsafe()  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError) as error:
            if not self._closing.is_set():
                _log.warning("a local worker does not start: %s", line_of(error))
            await self.close()
            return self

    async def instantiate(self) -> Status:
        """Start a process, and wait until it has reported, the cluster ends, or time is over."""
        starting = asyncio.ensure_future(super().instantiate())
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait(
                {starting, closing},
                timeout=self._start_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not starting.done():
                await self._give_up(starting)
        finally:
            closing.cancel()
        return Status.failed if starting.cancelled() else starting.result()

    async def _on_worker_exit(self, exitcode: int) -> None:
        """Start a worker in the place of one that has ended, unless the cluster ends, too."""
        if not self._closing.is_set():
            await super()._on_worker_exit(exitcode)

    async def _give_up(self, starting: "asyncio.Future[Status]") -> None:
        process = None if self.process is None else self.process.process
        if process is None:
            # There is nothing yet whose end would be noticed.
            starting.cancel()
            self.process = None
        else:
            # It begins before it is killed, and its end is what is waited for below.
            await process.kill()
        await asyncio.wait({starting})
