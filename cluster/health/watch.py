"""Watching the workers of a cluster that nobody keeps: who is not fit is given nothing more.

It looks through a client, from the process that uses the cluster, and remembers nothing that the
scheduler does not: which workers are held stands there, so whoever looks next can let them work again.
"""

import asyncio
import contextlib
import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from forebay.cluster.health import holding
from forebay.cluster.health.complaint import complaint
from forebay.cluster.health.machine import tell_health
from forebay.cluster.health.silence import Silences
from forebay.cluster.health.skew import Skews

LOOK_SECONDS = 5.0
"""Time between two looks."""
_ANSWER_SECONDS = 30.0
"""Seconds in which the scheduler, and workers, have to answer."""

_log = logging.getLogger("forebay.cluster")


@contextmanager
def watched(client: Any, name: str) -> Iterator[None]:
    """Watch the workers of a cluster for the length of a block.

    Parameters
    ----------
    client
        A `distributed.Client` of its scheduler.
    name
        What the cluster is called.
    """
    watch = Watch(client, name)
    task = client.sync(_begun, watch.go_on)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            client.sync(_ended, task, callback_timeout=_ANSWER_SECONDS)


class Watch:
    """Looks at workers, keeps work from those that are not fit, and says so.

    Parameters
    ----------
    client
        Connected to their scheduler; all is done in its event loop.
    name
        What the cluster is called.
    silences
        Knows for how long nothing was heard of whom.
    """

    def __init__(self, client: Any, name: str, *, silences: Silences | None = None) -> None:
        self._client = client
        self._name = name
        self._silences = silences or Silences()
        self._skews = Skews()
        self._asked: set[str] = set()
        self._nobody = False

    async def go_on(self) -> None:
        """Look again and again; what goes wrong with a look is told once."""
        failed = ""
        while True:
            try:
                await self.look()
                failed = ""
            except (OSError, TimeoutError):
                # The scheduler does not answer, which its users notice themselves.
                pass
            except Exception as error:  # noqa: BLE001 (whatever it is, work goes on)
                if failed != (failed := repr(error)):
                    _log.warning(
                        "the workers of the cluster %s cannot be watched: %s", self._name, error
                    )
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, and do what is needed."""
        workers = await at_scheduler(self._client, holding.look)
        silent = self._silences.of({each["address"]: each["last_seen"] for each in workers})
        skews = self._skews.of(
            {each["address"]: (each["last_seen"], each["skew"]) for each in workers}
        )
        hold, release = {}, []
        for each in workers:
            address, held = each["address"], each["held"]
            why = complaint_of({**each, "skew": skews[address]}, silence=silent[address])
            if why:
                hold[address] = held or why
            elif held:
                release.append(address)
            if why and not held:
                self._say("worker %s takes no more work: %s", each, why)
            if held and not why:
                self._say("worker %s is well, and takes work again", each)
        if hold or release:
            await at_scheduler(self._client, holding.change, hold=hold, release=release)
        nobody = bool(workers) and len(hold) == len(workers)
        if nobody and not self._nobody:
            _log.error("no worker of the cluster %s is fit: work waits until one is", self._name)
        self._nobody = nobody
        await self._ask_for_health(
            [each["address"] for each in workers if not silent[each["address"]]]
        )

    async def _ask_for_health(self, addresses: list[str]) -> None:
        """Let workers tell of themselves from now on; each is asked once."""
        new = [each for each in addresses if each not in self._asked]
        self._asked = self._asked.intersection(addresses).union(new)
        if new:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._client.run(tell_health, workers=new, on_error="ignore")

    def _say(self, text: str, worker: dict[str, Any], *more: str) -> None:
        _log.warning("the cluster %s: " + text, self._name, _called(worker), *more)


def complaint_of(worker: dict[str, Any], *, silence: float = 0.0) -> str:
    """Return what is wrong with a worker, by what its scheduler knows of it."""
    return complaint(worker["health"] or {}, skew=worker["skew"], silence=silence)


def workers_of(client: Any) -> list[dict[str, Any]]:
    """Return what the scheduler of a client knows of its workers, as `holding.look` tells it."""
    found: list[dict[str, Any]] = client.sync(at_scheduler, client, holding.look)
    return found


async def at_scheduler(client: Any, function: Callable[..., Any], **fields: Any) -> Any:
    """Call a function of `holding` at the scheduler of a client, in the event loop of that."""
    async with asyncio.timeout(_ANSWER_SECONDS):
        answer = await client.scheduler.run_function(
            function=_whole(function), args=pickle.dumps(()), kwargs=pickle.dumps(fields), wait=True
        )
    if answer["status"] == "error":
        raise answer["exception"]
    return answer["result"]


def _whole(function: Callable[..., Any]) -> bytes:
    """Return a function with its code, which its receiver need not have."""
    import cloudpickle  # type: ignore[import-untyped]

    cloudpickle.register_pickle_by_value(holding)
    try:
        return bytes(cloudpickle.dumps(function))
    finally:
        cloudpickle.unregister_pickle_by_value(holding)


def _called(worker: dict[str, Any]) -> str:
    name, address = worker["name"], worker["address"]
    return address if name == address else f"{name} ({address})"


async def _begun(go_on: Callable[[], Any]) -> "asyncio.Task[None]":
    return asyncio.create_task(go_on())


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
