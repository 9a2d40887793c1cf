"""What runs in a container elsewhere: the scheduler of a cluster, or a worker.

It speaks TLS from the first byte on, and ends when the cluster does.  Where its certificates come
from depends on who runs containers: each kind of cluster has a program of its own, around `main`.
"""

import argparse
import asyncio
import importlib
import logging
import math
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Any

from forebay.cluster.drain import drain_here
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.distant_crew import Desk
from forebay.cluster.larger import larger_options
from forebay.errors import ForebayError

DEATH_SECONDS = 120.0
"""Time without a scheduler after which a worker ends, and its machine with it."""
STOP_SECONDS = 90.0
"""Time for what is being computed when the machine is told to stop."""

_log = logging.getLogger("forebay.node")


def main(
    parser: argparse.ArgumentParser,
    security_of: Callable[[argparse.Namespace], Any],
    given: Sequence[str] | None = None,
) -> int:
    """Run what the container is for, until it is over.

    Parameters
    ----------
    parser
        Has the arguments that tell where the certificates are.
    security_of
        Returns the `distributed.Security` for its arguments.
    given
        The words of the command; those of this process if not given.

    Returns
    -------
    int
        The exit code.
    """
    _add_roles(parser)
    arguments = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        # It fails where the versions are not those that the other side expects, or CuPy is missing.
        importlib.import_module("forebay.cluster.keeping.fit")
        security = security_of(arguments)
        run = _scheduler if arguments.role == "scheduler" else _worker
        asyncio.run(run(arguments, security))
    except ForebayError as error:
        sys.stderr.write(f"forebay: error: {error}\n")
        return int(error.exit_code)
    except (OSError, TimeoutError) as error:
        sys.stderr.write(f"forebay: error: the {arguments.role} ended: {error}\n")
        return 1
    return 0


def _add_roles(parser: argparse.ArgumentParser) -> None:
    roles = parser.add_subparsers(dest="role", required=True)
    scheduler = roles.add_parser("scheduler")
    scheduler.add_argument("--port", type=int, default=8786)
    scheduler.add_argument("--most-workers", type=int, required=True)
    scheduler.add_argument("--orphan-seconds", type=float, default=math.inf)
    scheduler.add_argument("--memory-ceiling", type=int, help="bytes that one worker can have")
    worker = roles.add_parser("worker")
    worker.add_argument("scheduler")
    worker.add_argument("--name", required=True)
    worker.add_argument("--threads", type=int, required=True)
    worker.add_argument("--memory", default="auto", help="bytes, or 'auto'")
    worker.add_argument("--larger", action="store_true", help="for what needs its memory")
    worker.add_argument("--cuda", action="store_true", help="a worker for each GPU")
    worker.add_argument("--notice", action="store_true", help="look out for EC2's notice to leave")


async def _scheduler(arguments: argparse.Namespace, security: Any) -> None:
    from distributed import Scheduler

    # A dashboard would be open to whoever reaches the machine; the client has one by its TLS.
    async with Scheduler(
        protocol="tls",
        port=arguments.port,
        security=security,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    ) as scheduler:
        Desk(scheduler, arguments.most_workers, ceiling=arguments.memory_ceiling)
        _on_signals(asyncio.get_running_loop(), lambda: scheduler.close(reason="told to stop"))
        watching = asyncio.create_task(_close_orphaned(scheduler, arguments.orphan_seconds))
        await scheduler.finished()
        watching.cancel()


async def _close_orphaned(scheduler: Any, seconds: float) -> None:
    """Close a scheduler that has had no client for so long: nobody will end it otherwise."""
    loop = asyncio.get_running_loop()
    seen = loop.time()
    while loop.time() - seen < seconds:
        await asyncio.sleep(min(5.0, seconds / 4))
        # What nobody waits for is kept in the name of a client that is always there.
        if any(name != "fire-and-forget" for name in scheduler.clients):
            seen = loop.time()
    await scheduler.close(reason=f"no client for {seconds:g} s")


async def _worker(arguments: argparse.Namespace, security: Any) -> None:
    options: dict[str, Any] = {
        "nthreads": arguments.threads,
        "name": arguments.name,
        "memory_limit": arguments.memory,
        "death_timeout": DEATH_SECONDS,
        "security": security,
        "protocol": "tls",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
        "preload": [
            "forebay.cluster.keeping.worker",
            *(["forebay.cluster.aws.notice"] if arguments.notice else []),
        ],
    }
    if arguments.larger:
        options |= larger_options(arguments.memory)
    async with AsyncExitStack() as stack:
        if arguments.cuda:
            if find_spec("dask_cuda") is None:
                raise ClusterError(
                    "this worker is for GPUs, and dask-cuda is not installed: the image needs forebay "
                    "with the extra gpu ('pip install forebay[gpu]')"
                )
            from dask_cuda import CUDAWorker

            # It starts a nanny for each GPU when it is made.
            workers = CUDAWorker(arguments.scheduler, **options)
            nannies = list(workers.nannies)
            stack.push_async_callback(workers.close)
            await workers
        else:
            from distributed import Nanny

            nannies = [await stack.enter_async_context(Nanny(arguments.scheduler, **options))]
        _on_signals(asyncio.get_running_loop(), lambda: _leave(nannies))
        await asyncio.gather(*(nanny.finished() for nanny in nannies))


async def _leave(nannies: Sequence[Any]) -> None:
    """Let the workers finish what they are at, and end."""
    await asyncio.gather(*(_drained(nanny) for nanny in nannies))


async def _drained(nanny: Any) -> None:
    from distributed.core import rpc
    from distributed.protocol import pickle

    dumps: Any = pickle.dumps

    try:
        async with rpc(  # type: ignore[no-untyped-call]
            nanny.worker_address, connection_args=nanny.connection_args
        ) as worker:
            within = {"within": STOP_SECONDS, "reason": "its machine is told to stop"}
            await worker.run(function=dumps(drain_here), kwargs=dumps(within), wait=True)
    except OSError as error:
        _log.info("the worker has ended already: %s", error)
    await nanny.close(reason="told to stop")


def _on_signals(loop: asyncio.AbstractEventLoop, end: Any) -> None:
    """Do once what ends all, when the machine is told to stop."""
    tasks: list[asyncio.Task[None]] = []

    def told() -> None:
        if not tasks:
            tasks.append(loop.create_task(end()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
