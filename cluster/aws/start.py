"""Start a cluster on AWS, or join one that runs; keep it at its size, and leave nothing behind."""

import contextlib
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.cluster.aws import certificates
from forebay.cluster.aws.account import need_libraries
from forebay.cluster.aws.owner import Owner, forget, owning
from forebay.cluster.aws.plan import plan
from forebay.cluster.aws.specification import (
    AwsModel,
    Ec2ClusterSpecification,
    FargateClusterSpecification,
)
from forebay.cluster.client import client_of, close_in_time, line_of
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.certificates import new_certificate, security_of
from forebay.cluster.keeping.distant_crew import DistantCrew, WatchedPool
from forebay.cluster.keeping.joining import joined_or_started
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.patience import patience_of
from forebay.cluster.keeping.paying import PaidCluster, larger_cluster
from forebay.cluster.keeping.place import Place
from forebay.cluster.keeping.pool import Pool, PoolSilentError
from forebay.cluster.loop import sheltered_loop, signals_held
from forebay.cluster.spending import Spending

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def connected(specification: AwsModel, name: str) -> Iterator["Client"]:
    """Join the cluster that runs by that name, or start one for the block.

    Raises
    ------
    ClusterError
        If something is missing, or AWS does not give what is asked.
    """
    with joined_or_started(
        specification.folder, name, partial(started, specification, name)
    ) as client:
        yield client


@contextmanager
def started(
    specification: AwsModel,
    name: str,
    place: Place,
    *,
    stop: Callable[[], None] | None = None,
) -> Iterator["Client"]:
    """Start the scheduler's machine, and keep the workers', for the length of a block.

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
        If something is missing, or AWS does not give what is asked.
    """
    need_libraries()
    if missing := plan(specification, name).problems:
        raise ClusterError(f"the cluster {name} cannot be started: {missing[0]}")
    spending = specification.spending(name)
    with place.taken(), sheltered_loop() as loop, ExitStack() as stack:
        owner = stack.enter_context(owning(specification.folder, name))
        certificate, key = new_certificate()
        place.put_certificate(certificate, key)
        certificates.publish(certificate, key, owner, specification.region, specification.tags)
        stack.callback(certificates.withdraw, owner, specification.region)
        try:
            with signals_held(), warnings.catch_warnings():
                # Machines take a while to come, as everybody knows.
                warnings.filterwarnings("ignore", "Creating your cluster is taking")
                made = _made(specification, owner, spending, security_of(certificate, key), loop)
        except (OSError, RuntimeError) as error:
            why = line_of(error.__cause__ or error)
            if any(each.start == owner.start for each in spending.running()):
                why += (
                    f". Its scheduler may have started all the same: 'forebay cluster reap {name}' "
                    "ends it"
                )
            raise ClusterError(f"the cluster {name} does not start: {why}") from error
        cluster = made.cluster
        stack.callback(close_in_time, cluster)
        keeping = _Keeping(specification, owner, spending, made, stop)
        stack.enter_context(keeping.within(loop))
        place.write(name=name, kind=specification.kind, address=cluster.scheduler_address, tls=True)
        yield stack.enter_context(client_of(cluster, timeout=specification.start_seconds))
    # Had anything failed to end, this would not be reached: reaping finds the start by its file.
    spending.over(owner.start)
    forget(specification.folder, name, owner.start)


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made on AWS."""

    cluster: Any
    """The cluster, with its scheduler."""
    pool: Pool
    """Where its workers come from."""
    larger: tuple[AwsModel, Pool] | None
    """The one worker of more memory, and where it comes from."""


def _made(
    specification: AwsModel, owner: Owner, spending: Spending, security: Any, loop: Any
) -> _Made:
    """Start the scheduler's machine."""
    options = {"loop": loop, "silence_logs": logging.WARNING}
    if isinstance(specification, Ec2ClusterSpecification):
        from forebay.cluster.aws.ec2 import Ec2Cluster
        from forebay.cluster.aws.ec2_pool import Ec2Pool

        instance = specification.larger()
        instances = Ec2Cluster(specification, owner, spending, security, **options)
        one = None if instance is None else (instance, Ec2Pool(instances, instance))
        return _Made(instances, Ec2Pool(instances), one)
    if not isinstance(specification, FargateClusterSpecification):
        raise TypeError(f"{type(specification).__name__} is started by nobody")
    from forebay.cluster.aws.fargate import Fargate, FargatePool

    task = specification.larger()
    tasks = Fargate(specification, owner, spending, security, **options)
    larger = None if task is None else (task, FargatePool(tasks, task))
    return _Made(tasks, FargatePool(tasks), larger)


class _Keeping:
    """What keeps the workers, in an event loop of this process."""

    def __init__(
        self,
        specification: AwsModel,
        owner: Owner,
        spending: Spending,
        made: _Made,
        stop: Callable[[], None] | None,
    ) -> None:
        self._specification = specification
        self._owner = owner
        self._spending = spending
        crew = DistantCrew(made.cluster.scheduler_comm)
        self._pool = WatchedPool(made.pool, crew)
        self._larger = made.larger
        self._crew = crew
        self._stop = stop

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
            except PoolSilentError as error:
                raise ClusterError(
                    f"the machines of the workers could not be ended ({error}): "
                    f"'forebay cluster reap {self._owner.cluster}' ends them once AWS answers"
                ) from error

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        each = self._specification
        keeper = Keeper(
            self._pool,
            self._crew,
            f"{self._owner.cluster}.{self._owner.start}",
            patience=patience_of(each),
        )
        cluster = PaidCluster(
            keeper,
            paying=each,
            name=self._owner.cluster,
            spending=self._spending,
            look_seconds=each.look_seconds,
            stop=self._stop,
            larger=self._larger
            and larger_cluster(
                *self._larger, self._crew, keeper.name, self._owner.cluster, self._spending
            ),
        )
        self._pool.kept = cluster
        async with cluster.kept():
            yield
            # Its end asks for nobody's wishes any more.
            self._pool.kept = None
