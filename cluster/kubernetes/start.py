"""Start a cluster on Kubernetes, or join one that runs; leave nothing of it behind.

dask-kubernetes' own `KubeCluster` speaks to its scheduler in the clear, and lets the operator
choose which worker ends.  So what the operator is given is made here, and passed on by kubectl.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.address.start import join
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.certificates import put_new
from forebay.cluster.keeping.distant_crew import DistantCrew, WatchedPool
from forebay.cluster.keeping.joining import joined_or_started
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.patience import patience_of
from forebay.cluster.keeping.paying import PaidCluster, larger_cluster
from forebay.cluster.keeping.place import (
    Place,
    abandoned,
    remove,
)
from forebay.cluster.keeping.pool import Stage
from forebay.cluster.kubernetes.commands import kubectl
from forebay.cluster.kubernetes.forwarding import forwarded
from forebay.cluster.kubernetes.owner import owner_of
from forebay.cluster.kubernetes.pool import KubernetesPool, scheduler_seen
from forebay.cluster.kubernetes.removal import CLUSTERS, remove_start
from forebay.cluster.kubernetes.resources import as_json, cluster, scheduler_address, secret
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.loop import sheltered_loop

if TYPE_CHECKING:
    from distributed import Client, Security

_WAIT_SECONDS = 5
"""Time for which kubectl waits for something before it is looked at why that does not come."""
_DELETE_SECONDS = 25
"""Time in which resources have to be gone; kubectl itself has 30 s to answer."""
_log = logging.getLogger("forebay.cluster")


@contextmanager
def connected(specification: KubernetesClusterSpecification, name: str) -> Iterator["Client"]:
    """Join the cluster that runs by that name, or start one for the block.

    Raises
    ------
    ClusterError
        If something is missing, or Kubernetes does not give what is asked.
    """
    with joined_or_started(
        specification.folder, name, partial(started, specification, name)
    ) as client:
        yield client


@contextmanager
def started(
    specification: KubernetesClusterSpecification,
    name: str,
    place: Place,
    *,
    stop: Callable[[], None] | None = None,
) -> Iterator["Client"]:
    """Run the scheduler in a pod, and keep its workers, for the length of a block.

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
        If something is missing, or Kubernetes does not give what is asked.
    """
    if missing := specification.plan(name).problems:
        raise ClusterError(f"the cluster {name} cannot be started: {missing[0]}")
    with place.taken(), sheltered_loop() as loop, ExitStack() as stack:
        security = put_new(place)
        pods = _Pods(specification, name, place, security, stop)
        address = stack.enter_context(pods.within(loop))
        place.write(name=name, kind=specification.kind, address=address, tls=True)
        joined = AddressSpecification(
            address=address,
            ca_file=place.ca_file,
            cert_file=place.ca_file,
            key_file=place.key_file,
        )
        yield stack.enter_context(join(joined))


class _Pods:
    """What keeps scheduler and workers, in an event loop of this process."""

    def __init__(
        self,
        specification: KubernetesClusterSpecification,
        name: str,
        place: Place,
        security: "Security",
        stop: Callable[[], None] | None,
    ) -> None:
        self._specification = specification
        self._name = name
        self._place = place
        self._security = security
        self._stop = stop
        self._owner = owner_of(name, place)
        self._spending = specification.spending(name)

    @contextmanager
    def within(self, loop: Any) -> Iterator[str]:
        """Keep the pods for the length of a block, which gets the scheduler's address."""
        from distributed.utils import sync

        running = self._running()
        address: str = sync(loop, running.__aenter__)
        try:
            yield address
        finally:
            sync(loop, running.__aexit__, None, None, None)

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[str]:
        await self._sweep()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._remove, self._owner.start, "--wait=false")
            await self._make()
            await self._wait_for_scheduler()
            address = scheduler_address(self._specification, self._owner)
            if not self._specification.inside:
                log = self._place.logs / "port-forward.log"
                port = await stack.enter_async_context(
                    forwarded(self._specification, self._owner.start, log)
                )
                address = f"tls://127.0.0.1:{port}"
            await stack.enter_async_context(self._kept(address))
            yield address

    async def _make(self) -> None:
        certificate, key = self._place.ca_file.read_text(), self._place.key_file.read_text()
        made = [
            secret(self._specification, self._owner, certificate, key),
            cluster(self._specification, self._owner),
        ]
        await kubectl(self._specification, "create", "--filename=-", given=as_json(made))

    async def _wait_for_scheduler(self) -> None:
        """Wait until the operator has made the scheduler, and it listens."""
        deployment = f"deployment/{self._owner.start}-scheduler"
        for what, condition, why in (
            (
                f"{CLUSTERS}/{self._owner.start}",
                "--for=jsonpath={.status.phase}=Running",
                "does the Dask operator run ('kubectl get pods -A', dask-kubernetes-operator)?",
            ),
            (
                deployment,
                "--for=condition=Available",
                f"'kubectl describe {deployment}' says more",
            ),
        ):
            await self._wait(what, condition, why)

    async def _wait(self, what: str, condition: str, why: str) -> None:
        patience = self._specification.start_seconds
        deadline = asyncio.get_running_loop().time() + patience
        timeout = f"--timeout={_WAIT_SECONDS}s"
        while True:
            try:
                await kubectl(self._specification, "wait", what, condition, timeout)
            except ClusterError as error:
                if asyncio.get_running_loop().time() >= deadline or "timed out" not in str(error):
                    raise ClusterError(f"{what} has not come up ({error}): {why}") from error
            else:
                return
            seen = await scheduler_seen(self._specification, self._owner)
            if seen.stage is Stage.OVER:
                raise ClusterError(
                    f"the scheduler's pod does not run ({seen.state}, {seen.reason}): has "
                    f"{self._specification.image} forebay in this version?"
                )

    @contextlib.asynccontextmanager
    async def _kept(self, address: str) -> AsyncIterator[None]:
        from distributed.core import rpc

        each = self._specification
        security: Any = self._security
        connection = security.get_connection_args("client")
        scheduler: Any = rpc(address, connection_args=connection)  # type: ignore[no-untyped-call]
        crew = DistantCrew(scheduler)
        pool = WatchedPool(KubernetesPool(each, self._owner, self._spending), crew)
        keeper = Keeper(pool, crew, self._owner.start, patience=patience_of(each))
        kept = PaidCluster(
            keeper,
            paying=each,
            name=self._name,
            spending=self._spending,
            look_seconds=each.look_seconds,
            stop=self._stop,
            larger=self._larger(crew),
        )
        pool.kept = kept
        try:
            async with kept.kept():
                yield
                # Its end asks for nobody's wishes any more.
                pool.kept = None
        finally:
            await scheduler.close_rpc()

    def _larger(self, crew: DistantCrew) -> PaidCluster | None:
        """Return what keeps the one worker of more memory, if there is to be one."""
        larger = self._specification.larger()
        if larger is None:
            return None
        pool = WatchedPool(KubernetesPool(larger, self._owner, self._spending, larger=True), crew)
        return larger_cluster(larger, pool, crew, self._owner.start, self._name, self._spending)

    async def _sweep(self) -> None:
        """Remove what clusters whose commands were killed have left, and their folders."""
        await self._remove(self._owner.start, f"--timeout={_DELETE_SECONDS}s")
        for place in await asyncio.to_thread(abandoned, self._specification.folder, self._name):
            await self._remove(owner_of(self._name, place).start, "--wait=false")
            await asyncio.to_thread(remove, place)

    async def _remove(self, start: str, option: str) -> None:
        """Remove all resources of a start; nothing of it costs anything any more."""
        await remove_start(self._specification, self._name, start, option)
        self._spending.over(start)
