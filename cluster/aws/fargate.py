"""A cluster on Fargate: dask-cloudprovider's, with what it does not do.

Its release 2025.9 removes at each start what it takes for leftovers of others, asks for a task's
state as fast as it can, gives its own resources tags by which others of its kind remove them, and
leaves the cleaning up of what it made to the end of the interpreter.  Here the task definitions are
ours, made and removed with the cluster, and speak TLS; tasks are charged for.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any

from dask_cloudprovider.aws.ecs import FargateCluster, Scheduler, Task, Worker
from distributed.deploy.spec import SpecCluster as _SpecCluster

from forebay.cluster.aws.account import asking, client, of_a_pool
from forebay.cluster.aws.definitions import (
    LARGER,
    ON_DEMAND,
    ROLES,
    SCHEDULER,
    SPOT,
    WORKER,
    definition,
    family,
)
from forebay.cluster.aws.owner import REQUEST_TAG, Owner
from forebay.cluster.aws.specification import FargateClusterSpecification
from forebay.cluster.aws.unanswered import Unanswered
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.pool import Seen, Stage
from forebay.cluster.spending import Spending

_logger = logging.getLogger("forebay.cluster")
_LOOK_SECONDS = 1.0
_MANY = 100
"""Tasks that ECS describes at a time."""
_NO_CAPACITY = "Capacity is unavailable"
_TAKEN = {"UserInitiated", "SpotInterruption", "TerminationNotice"}
_STAGES = {
    "PROVISIONING": Stage.WAITING,
    "PENDING": Stage.WAITING,
    "ACTIVATING": Stage.WAITING,
    "RUNNING": Stage.RUNNING,
}


class _Charged(Task):  # type: ignore[misc]  # it has no types
    """A task that is charged for."""

    price: float = 0.0
    fargate_cluster: "Fargate"
    tags: dict[str, str]
    _fargate_capacity_provider: str | None
    _overrides: dict[str, Any]
    task_kwargs: dict[str, Any]
    unanswered: Unanswered | None = None
    """Where a pool notes that the answer was lost, and looks for what came of the request."""
    token: str = ""
    noted: bool = False

    async def start(self) -> None:
        """Start it, on demand where there is no spot capacity."""
        fargate = self.fargate_cluster
        self.token = fargate.spending.reserve(
            fargate.owner.start,
            price=self.price,
            budget_per_day=fargate.specification.budget_per_day,
        )
        self.tags = {**self.tags, REQUEST_TAG: self.token}
        try:
            with asking(f"for the task of a {self.task_type}"):
                await self._run()
        except BaseException as error:
            if self.task:
                await self.close()
            else:
                # Where no pool looks for what came of the request, reaping does.
                unanswered = self.unanswered or Unanswered(fargate.spending)
                unanswered.take(self.token, error)
            raise

    async def _run(self) -> None:
        # It is asked for again where no answer came, for a minute: with its token, ECS then tells
        # of the task that it has started already.  What is asked of another market is another task.
        token = f"{self.token}-{self._fargate_capacity_provider}"
        self.task_kwargs = {**self.task_kwargs, "clientToken": token}
        try:
            await super().start()
        except RuntimeError as error:
            market = self.fargate_cluster.specification.market
            if (
                _NO_CAPACITY in str(error)
                and self._fargate_capacity_provider == SPOT
                and market == "spot-or-on-demand"
            ):
                self._fargate_capacity_provider = ON_DEMAND
                await self._run()
                return
            said = (self.task or {}).get("stoppedReason") or error
            raise ClusterError(f"the task of a {self.task_type} does not run: {said}") from error

    async def _update_task(self) -> None:
        if not self.noted:
            # First of all: if this process dies now, what the task costs is known.
            self.fargate_cluster.spending.began(self.token, self.task_arn)
            self.noted = True
        else:
            await asyncio.sleep(_LOOK_SECONDS)
        await super()._update_task()

    async def close(self, **kwargs: Any) -> None:
        """Stop it."""
        await super().close(**kwargs)
        if self.task_arn is not None:
            self.fargate_cluster.spending.ended([self.task_arn])


class FargateScheduler(_Charged, Scheduler):  # type: ignore[misc]
    """The task of the scheduler: always on demand."""

    def __init__(self, *, fargate_cluster: "Fargate", **options: Any) -> None:
        super().__init__(**options)
        self.fargate_cluster = fargate_cluster
        self.price = fargate_cluster.specification.cost_of_scheduler_per_hour
        # The command stands in the definition of the task.
        self._overrides = {}


class FargateWorker(_Charged, Worker):  # type: ignore[misc]
    """The task of a worker; with `larger` of the one that has so much memory."""

    def __init__(
        self,
        scheduler: str,
        *,
        fargate_cluster: "Fargate",
        larger: FargateClusterSpecification | None = None,
        **options: Any,
    ) -> None:
        super().__init__(scheduler, **options)
        specification = larger or fargate_cluster.specification
        self.fargate_cluster = fargate_cluster
        self.price = specification.cost_per_worker_hour or 0.0
        command = definition(specification, fargate_cluster.owner, LARGER if larger else WORKER)
        (container,) = command["containerDefinitions"]
        self._overrides = {"command": [*container["command"], scheduler, "--name", self.name]}


SpecCluster: Any = _SpecCluster
"""It has types, and `ECSCluster`, which has none, has other arguments."""


class _Swapped(SpecCluster):  # type: ignore[misc]
    """Comes between `ECSCluster` and `SpecCluster`, where the former has decided what to start."""

    scheduler_spec: dict[str, Any]
    new_spec: dict[str, Any]

    async def _start(self) -> None:
        ours = {"fargate_cluster": self}
        self.scheduler_spec = {
            "cls": FargateScheduler,
            "options": {**self.scheduler_spec["options"], **ours},
        }
        self.new_spec = {"cls": FargateWorker, "options": {**self.new_spec["options"], **ours}}
        await super()._start()


class Fargate(FargateCluster, _Swapped):  # type: ignore[misc]
    """The scheduler's task, and what workers' tasks are made from.

    Parameters
    ----------
    specification
        What is wanted.
    owner
        In whose name.
    spending
        Where the charges are written down.
    security
        Certificates of client, scheduler and workers.
    options
        Of `distributed.SpecCluster`.
    """

    def __init__(
        self,
        specification: FargateClusterSpecification,
        owner: Owner,
        spending: Spending,
        security: Any,
        **options: Any,
    ) -> None:
        self.specification = specification
        self.owner = owner
        self.spending = spending
        sizes = {SCHEDULER: specification, WORKER: specification}
        if (larger := specification.larger()) is not None:
            sizes[LARGER] = larger
        arns = {role: self._register(role, each) for role, each in sizes.items()}
        self._larger_arn = arns.get(LARGER)
        started = {"startedBy": started_by(owner)}
        try:
            super().__init__(
                fargate_spot=specification.market != "on-demand",
                image=specification.image,
                scheduler_cpu=specification.scheduler_cpu,
                scheduler_mem=specification.scheduler_memory >> 20,
                worker_cpu=specification.cpu,
                worker_mem=specification.memory >> 20,
                scheduler_task_definition_arn=arns["scheduler"],
                worker_task_definition_arn=arns["worker"],
                scheduler_task_kwargs=started,
                worker_task_kwargs=started,
                n_workers=0,
                cluster_arn=specification.ecs_cluster,
                execution_role_arn=specification.execution_role,
                task_role_arn=specification.task_role,
                cloudwatch_logs_group=specification.log_group,
                vpc="unused",
                subnets=list(specification.subnets),
                security_groups=list(specification.security_groups),
                environment={},
                tags={**specification.tags, **owner.tags},
                region_name=specification.region,
                fargate_use_private_ip=not specification.public_address,
                skip_cleanup=True,
                security=security,
                **options,
            )
        except BaseException:
            remove_definitions(specification, owner)
            raise

    def _register(self, role: str, specification: FargateClusterSpecification) -> str:
        with asking(f"to register the task of a {role}"):
            answer = client("ecs", self.specification.region).register_task_definition(
                **definition(specification, self.owner, role)
            )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def _check_scheduler_tls_config(self) -> None:
        """Say nothing: it looks for TLS in options of a command that is not used."""

    def worker(self, name: str, larger: FargateClusterSpecification | None = None) -> FargateWorker:
        """Return a worker that is not started yet."""
        options = self.new_spec["options"]
        if larger is not None:
            options = {
                **options,
                "task_definition_arn": self._larger_arn,
                "task_kwargs": {"startedBy": started_by(self.owner, larger=True)},
                "cpu": larger.cpu,
                "mem": larger.memory >> 20,
                "larger": larger,
            }
        return FargateWorker(self.scheduler.address, name=name, **options)

    def _log(self, log: str) -> None:
        # It would print it, into what commands print for other programs.
        _logger.debug("%s", log)

    async def _close(self) -> None:
        await super()._close()
        remove_definitions(self.specification, self.owner)


def started_by(owner: Owner, *, larger: bool = False) -> str:
    """Return what ECS is told of who has started a task; that of the larger worker has its own."""
    return f"forebay-{owner.start}{'-larger' if larger else ''}"


def remove_definitions(specification: FargateClusterSpecification, owner: Owner) -> None:
    """Take back the definitions of tasks of a start."""
    ecs = client("ecs", specification.region)
    with asking("to take back the definitions of tasks"):
        for role in ROLES:
            found = ecs.list_task_definitions(familyPrefix=family(owner, role))
            for arn in found["taskDefinitionArns"]:
                ecs.deregister_task_definition(taskDefinition=arn)


class FargatePool:
    """The tasks of the workers of one start, as the keeper of a cluster sees them.

    Parameters
    ----------
    cluster
        What they are made from.
    larger
        The one worker of more memory, if it is that which is seen to; all others if not given.
    """

    def __init__(self, cluster: Fargate, larger: FargateClusterSpecification | None = None) -> None:
        self._cluster = cluster
        self._larger = larger
        self._unanswered = Unanswered(cluster.spending)
        self._arguments = {
            "cluster": cluster.specification.ecs_cluster,
        }

    async def ask(self, name: str, *, without: Collection[str]) -> str:  # noqa: ARG002
        """Start a task, and return what ECS calls it."""
        worker = self._cluster.worker(name, self._larger)
        worker.unanswered = self._unanswered
        try:
            await worker.start()
        except ClusterError as error:
            raise of_a_pool(error) from error
        return str(worker.task_arn)

    async def look(self) -> Mapping[str, Seen]:
        """Return the workers' tasks of this start."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> Mapping[str, Seen]:
        ecs = client("ecs", self._cluster.specification.region)
        arns: list[str] = []
        seen: dict[str, Seen] = {}
        requests: dict[str, str] = {}
        try:
            with asking("which tasks there are"):
                for status in ("RUNNING", "STOPPED"):
                    pages = ecs.get_paginator("list_tasks").paginate(
                        startedBy=started_by(self._cluster.owner, larger=bool(self._larger)),
                        desiredStatus=status,
                        **self._arguments,
                    )
                    arns += [arn for page in pages for arn in page["taskArns"]]
                arns = [arn for arn in arns if arn != self._cluster.scheduler.task_arn]
                for first in range(0, len(arns), _MANY):
                    some = arns[first : first + _MANY]
                    answer = ecs.describe_tasks(tasks=some, include=["TAGS"], **self._arguments)
                    for task in answer["tasks"]:
                        seen[task["taskArn"]] = _seen(task)
                        tags = {each["key"]: each["value"] for each in task.get("tags", [])}
                        requests[tags.get(REQUEST_TAG, "")] = task["taskArn"]
        except ClusterError as error:
            raise of_a_pool(error) from error.__cause__
        self._unanswered.settle(requests)
        over = {arn for arn, each in seen.items() if each.stage is Stage.OVER}
        running = {each.machine for each in self._cluster.spending.running()}
        if ended := [arn for arn in over if arn in running]:
            self._cluster.spending.ended(ended)
        return seen

    async def give_up(self, jobs: Collection[str]) -> None:
        """Stop tasks."""
        await asyncio.to_thread(self._stop, list(jobs))

    def _stop(self, jobs: list[str]) -> None:
        ecs = client("ecs", self._cluster.specification.region)
        try:
            with asking("to stop tasks"):
                for each in jobs:
                    ecs.stop_task(task=each, reason="no longer wanted", **self._arguments)
        except ClusterError as error:
            raise of_a_pool(error) from error.__cause__
        self._cluster.spending.ended(jobs)

    async def story(self, job: str, name: str) -> str:  # noqa: ARG002
        """Return why a task has stopped."""
        return (await self.look()).get(job, Seen(Stage.OVER, "gone")).reason


def _seen(task: dict[str, Any]) -> Seen:
    state = task["lastStatus"]
    reasons = [task.get("stoppedReason", "")]
    for each in task.get("containers", []):
        if "exitCode" in each:
            reasons.append(f"exit code {each['exitCode']}")
        reasons.append(each.get("reason", ""))
    return Seen(
        _STAGES.get(state, Stage.OVER),
        state,
        reason=", ".join(filter(None, reasons)),
        node=task["taskArn"],
        given_up=task.get("stopCode") in _TAKEN,
    )
