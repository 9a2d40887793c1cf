"""Start a cluster on this machine, and leave nothing of it behind."""

import functools
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import ByteSize

from forebay.cluster.client import client_of, close_in_time, known_workers, line_of
from forebay.cluster.errors import ClusterError
from forebay.cluster.health.watch import watched
from forebay.cluster.local.larger import LargerWorker
from forebay.cluster.local.specification import LocalClusterSpecification
from forebay.cluster.loop import sheltered_loop, signals_held
from forebay.cluster.plan import Plan
from forebay.cluster.refill import refilled

if TYPE_CHECKING:
    from distributed import Client

    from forebay.cluster.local.nanny import Closing


@contextmanager
def start(specification: LocalClusterSpecification, name: str) -> Iterator["Client"]:
    """Start the workers of a specification, and end them with the block.

    Raises
    ------
    ClusterError
        If they do not come.
    """
    from dask.system import CPU_COUNT
    from distributed import LocalCluster
    from distributed.utils import sync

    from forebay.cluster.local.nanny import Closing

    closing = Closing()
    if specification.dashboard and find_spec("bokeh") is None:
        raise ClusterError("the Dask dashboard needs bokeh: install it, or set dashboard = false")
    workers = specification.workers or CPU_COUNT
    seconds = specification.start_seconds
    with sheltered_loop() as loop, ExitStack() as stack:
        try:
            with signals_held():
                cluster: Any = LocalCluster(  # type: ignore[no-untyped-call]
                    loop=loop, **_options(specification, workers, closing)
                )
                stack.callback(close_in_time, cluster)
                sync(loop, _end_dashboard_at_once, cluster.scheduler)
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"the local cluster does not start: {line_of(error)}") from error
        try:
            client = stack.enter_context(client_of(cluster))
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"the local workers do not start: {line_of(error)}") from error
        # Else each would serve a dashboard of its own wherever bokeh is installed.
        cluster.new_spec["options"]["dashboard"] = False
        # The workers come once the cluster can be closed, so that Ctrl-C finds it in order, and
        # once there is a client, which would wait for them without end.
        stack.callback(loop.add_callback, closing.set)
        cluster.scale(workers)
        try:
            client.wait_for_workers(workers, timeout=seconds)
        except TimeoutError as error:
            there = len(known_workers(client))
            raise ClusterError(
                f"only {there} of {workers} local workers came up within {seconds:g} s: what they "
                "said stands above; a busy machine needs more (start_seconds of the cluster)"
            ) from error
        stack.enter_context(refilled(cluster, loop))
        stack.enter_context(watched(client, name))
        if specification.memory_ceiling is not None:
            sync(loop, LargerWorker(cluster, int(specification.memory_ceiling)).answer)
        yield client


async def _end_dashboard_at_once(scheduler: Any) -> None:
    """Have the end of a scheduler not wait for bokeh, which from 3.10 on refuses to be waited for."""
    for each in scheduler.http_application.applications:
        if hasattr(each, "stop"):
            each.stop = functools.partial(each.stop, wait=False)


def _options(
    specification: LocalClusterSpecification, workers: int, closing: "Closing"
) -> dict[str, Any]:
    from distributed.system import MEMORY_LIMIT

    from forebay.cluster.local.nanny import LocalNanny

    memory = specification.memory_limit
    options: dict[str, Any] = {
        "n_workers": 0,
        "threads_per_worker": specification.threads_per_worker,
        "memory_limit": MEMORY_LIMIT // workers if memory == "auto" else int(memory),
        "processes": specification.processes,
        "silence_logs": logging.WARNING,
        # Without an address the HTTP servers of a cluster of threads listen on all interfaces.
        "scheduler_kwargs": {
            "dashboard": specification.dashboard,
            "dashboard_address": "127.0.0.1:0",
        },
        "worker_dashboard_address": "127.0.0.1:0",
    }
    if specification.processes:
        # A cluster of threads speaks inproc:// and does not start where it is given a host.
        options["host"] = "127.0.0.1"
        options["worker_class"] = LocalNanny
        # Who waits for all of them gives up first, and then the rest; this is for those after them.
        options["start_seconds"] = 2 * specification.start_seconds
        options["closing"] = closing
        options["preload"] = ["forebay.cluster.local.preload"]
    return options


def plan(specification: LocalClusterSpecification) -> Plan:
    """Return what would be started on this machine."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    workers = specification.workers or CPU_COUNT
    memory = specification.memory_limit
    each = MEMORY_LIMIT // workers if memory == "auto" else int(memory)
    problems = []
    if specification.dashboard and find_spec("bokeh") is None:
        problems.append("the Dask dashboard needs bokeh: install it, or set dashboard = false")
    if each * workers > MEMORY_LIMIT:
        problems.append(
            f"{workers} workers of {_size(each)} are more than the {_size(MEMORY_LIMIT)} "
            "of this machine: give fewer workers, or a smaller memory_limit"
        )
    ceiling = specification.memory_ceiling
    if ceiling is not None and not each < ceiling <= MEMORY_LIMIT:
        problems.append(
            f"memory_ceiling = {_size(ceiling)} has to be above the {_size(each)} of a "
            f"worker, and no more than the {_size(MEMORY_LIMIT)} of this machine"
        )
    larger = () if ceiling is None else (("one larger worker", _size(ceiling)),)
    facts = (
        ("workers", str(workers)),
        ("threads of each", str(specification.threads_per_worker)),
        ("memory of each", _size(each)),
        *larger,
        ("as", "processes" if specification.processes else "threads of the calling process"),
    )
    return Plan(
        facts,
        problems=tuple(problems),
        workers=(workers, workers),
        cost_per_worker_hour=specification.cost_per_worker_hour,
    )


def _size(number: int) -> str:
    return ByteSize(number).human_readable(separator=" ")
