"""Start a cluster of Slurm jobs, or join one that runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.cluster.client import client_of, close_in_time, line_of
from forebay.cluster.decisions import DecisionLog, decisions_path
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.certificates import put_new
from forebay.cluster.keeping.joining import joined_or_started
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.patience import patience_of
from forebay.cluster.keeping.place import (
    Place,
    abandoned,
    remove,
)
from forebay.cluster.keeping.service import KeptCluster
from forebay.cluster.larger import CEILING, RESOURCE
from forebay.cluster.loop import sheltered_loop
from forebay.cluster.slurm.pool import SlurmPool
from forebay.cluster.slurm.script import dask_jobqueue, options_of, own_words, script_of

if TYPE_CHECKING:
    from distributed import Client, Security

    from forebay.cluster.slurm.specification import SlurmClusterSpecification

START_TIMEOUT = 30.0
"""Seconds in which the scheduler, in this process, has to listen."""

_LARGER = "-larger"
"""What stands behind the names of the jobs of a worker with more memory."""

_log = logging.getLogger("forebay.cluster")


@contextmanager
def connected(specification: "SlurmClusterSpecification", name: str) -> Iterator["Client"]:
    """Join the cluster that runs by that name, or start one for the block.

    Raises
    ------
    ClusterError
        If it cannot be started; nothing is submitted then.
    """
    with joined_or_started(
        specification.folder, name, partial(started, specification, name)
    ) as client:
        yield client


@contextmanager
def started(
    specification: "SlurmClusterSpecification",
    name: str,
    place: Place,
    *,
    stop: Callable[[], None] | None = None,
) -> Iterator["Client"]:
    """Run the scheduler in this process, and keep its workers, for the length of a block.

    Parameters
    ----------
    specification
        What is wanted.
    name
        What the cluster is called.
    place
        Its folder.
    stop
        Called, from another thread, when the cluster is asked to end.

    Raises
    ------
    ClusterError
        If it cannot be started; nothing is submitted then.
    """
    problems = specification.plan(name).problems
    if problems:
        raise ClusterError(f"the cluster {name} cannot be started: {problems[0]}")
    with place.taken(), sheltered_loop() as loop, ExitStack() as stack:
        security = put_new(place) if specification.protocol == "tls" else None
        cluster = _scheduler(specification, name, place, security, loop)
        stack.callback(close_in_time, cluster)
        keeping = _Keeping(specification, name, place, cluster, security, stop)
        stack.enter_context(keeping.within(loop))
        place.write(
            name=name,
            kind=specification.kind,
            address=cluster.scheduler_address,
            tls=security is not None,
        )
        yield stack.enter_context(client_of(cluster, timeout=START_TIMEOUT))


def _options(specification: "SlurmClusterSpecification", name: str, place: Place) -> dict[str, Any]:
    return options_of(specification, job_name=f"forebay-{name}", tag=place.tag, folder=place.path)


def _scheduler(
    specification: "SlurmClusterSpecification",
    name: str,
    place: Place,
    security: "Security | None",
    loop: Any,
) -> Any:
    """Start dask-jobqueue's cluster without a worker: the keeper asks for those."""
    jobqueue = dask_jobqueue()
    try:
        with own_words():
            return jobqueue.SLURMCluster(
                n_workers=0,
                loop=loop,
                security=security,
                silence_logs=logging.WARNING,
                scheduler_options={
                    "dashboard": False,
                    "dashboard_address": "127.0.0.1:0",
                    "port": 0,
                },
                **_options(specification, name, place),
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"the scheduler does not start: {line_of(error)}") from error


class _Keeping:
    """What runs in the event loop of the scheduler."""

    def __init__(
        self,
        specification: "SlurmClusterSpecification",
        name: str,
        place: Place,
        cluster: Any,
        security: "Security | None",
        stop: Callable[[], None] | None,
    ) -> None:
        self._security = security
        self._address = cluster.scheduler_address
        self._specification = specification
        self._name = name
        self._place = place
        self._scheduler = cluster.scheduler
        self._stop = stop

    def _pool_of(self, kind: str, place: Place, script: Callable[[str], str]) -> SlurmPool:
        """Return the jobs of a kind: nothing for the usual ones, or what stands behind the names."""
        return SlurmPool(
            job_name=f"forebay-{self._name}{kind}",
            tag=f"{place.tag}{kind}",
            logs=place.logs,
            script=script,
        )

    def _kept_cluster(
        self, kind: str, each: "SlurmClusterSpecification", **more: Any
    ) -> KeptCluster:
        """Return what keeps the workers of a kind."""
        from forebay.cluster.keeping.scheduler_crew import SchedulerCrew

        options = options_of(
            each,
            job_name=f"forebay-{self._name}{kind}",
            tag=f"{self._place.tag}{kind}",
            folder=self._place.path,
            resources={RESOURCE: int(each.memory_limit)} if kind else None,
        ) | {"security": self._security}
        script = partial(script_of, scheduler=self._address, options=options)
        keeper = Keeper(
            self._pool_of(kind, self._place, script),
            SchedulerCrew(self._scheduler),
            # No other start of this cluster has workers of the same name.
            f"{self._name}{kind}.{self._scheduler.id.rpartition('-')[2][:8]}",
            patience=patience_of(each),
        )
        return KeptCluster(
            keeper,
            each.limits,
            workers_per_job=each.workers_per_job,
            look_seconds=each.look_seconds,
            stop=self._stop,
            name=f"{self._name}{kind}",
            decisions=DecisionLog(decisions_path(each.place, self._name)),
            **more,
        )

    @contextmanager
    def within(self, loop: Any) -> Iterator[None]:
        """Keep the workers for the length of a block."""
        from distributed.utils import sync

        kept = self._kept()
        sync(loop, kept.__aenter__)
        try:
            yield
        finally:
            try:
                sync(loop, kept.__aexit__, None, None, None)
            except ClusterError as error:
                _log.warning(
                    "%s: jobs of %s are left; their workers end by themselves", error, self._name
                )

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        await self._sweep()
        each, more = self._specification, {}
        if each.larger is not None:
            more["larger"] = self._kept_cluster(_LARGER, each.larger)
            self._scheduler.set_metadata(keys=[CEILING], value=int(each.larger.memory_limit))
        cluster = self._kept_cluster("", each, **more)
        cluster.answer_for(self._scheduler)
        async with cluster.kept():
            yield

    async def _sweep(self) -> None:
        """Cancel the jobs of clusters whose commands were killed, and remove their folders."""

        def no_script(worker: str) -> str:
            raise AssertionError(f"nothing is asked for, and {worker} was")

        for place in await asyncio.to_thread(abandoned, self._specification.folder, self._name):
            for kind in ("", _LARGER):
                pool = self._pool_of(kind, place, no_script)
                await pool.give_up(list(await pool.look()))
            await asyncio.to_thread(remove, place)
