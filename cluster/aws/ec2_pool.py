"""Instances of EC2, each of which carries a worker, as the keeper of a cluster sees them."""

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

from forebay.cluster.aws.account import asking, of_a_pool
from forebay.cluster.aws.ec2 import Ec2Cluster, reason_of
from forebay.cluster.aws.owner import LARGER_TAG, REQUEST_TAG, START_TAG
from forebay.cluster.aws.specification import Ec2ClusterSpecification
from forebay.cluster.aws.unanswered import Unanswered
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.pool import Seen, Stage

_STAGES = {"pending": Stage.WAITING, "running": Stage.RUNNING}
_TAKEN = {
    "Client.UserInitiatedShutdown",
    "Server.SpotInstanceShutdown",
    "Server.SpotInstanceTermination",
}
"""Why EC2 says that an instance ended, where its worker is not to blame."""


class Ec2Pool:
    """The instances of the workers of one start.

    Parameters
    ----------
    cluster
        What they are made from.
    larger
        The one worker of more memory, if it is that which is seen to; all others if not given.
    """

    def __init__(self, cluster: Ec2Cluster, larger: Ec2ClusterSpecification | None = None) -> None:
        self._cluster = cluster
        self._larger = larger
        self._unanswered = Unanswered(cluster.spending)

    async def ask(self, name: str, *, without: Collection[str]) -> str:  # noqa: ARG002
        """Start an instance, and return what EC2 calls it; each has a node of its own."""
        worker = self._cluster.worker(name, self._larger)
        worker.unanswered = self._unanswered
        try:
            await worker.start()
        except ClusterError as error:
            raise of_a_pool(error) from error
        return str(worker.instance["InstanceId"])

    async def look(self) -> Mapping[str, Seen]:
        """Return the workers' instances of this start."""
        own = [{"Name": f"tag:{START_TAG}", "Values": [self._cluster.owner.start]}]
        scheduler = self._cluster.scheduler.instance["InstanceId"]
        seen: dict[str, Seen] = {}
        requests: dict[str, str] = {}
        async for page in self._pages("describe_instances", Filters=own):
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    machine = instance["InstanceId"]
                    tags = {each["Key"]: each["Value"] for each in instance["Tags"]}
                    if machine != scheduler and (LARGER_TAG in tags) == bool(self._larger):
                        seen[machine] = _seen(instance)
                        requests[tags.get(REQUEST_TAG, "")] = machine
        self._unanswered.settle(requests)
        # What was taken away, or ended by itself, costs nothing any more.
        over = {name for name, each in seen.items() if each.stage is Stage.OVER}
        running = {each.machine for each in self._cluster.spending.running()}
        if ended := [machine for machine in over if machine in running]:
            self._cluster.spending.ended(ended)
        return seen

    async def give_up(self, jobs: Collection[str]) -> None:
        """End instances."""
        if not jobs:
            return
        async with self._client() as client:
            await client.terminate_instances(InstanceIds=sorted(jobs))
        self._cluster.spending.ended(jobs)

    async def story(self, job: str, name: str) -> str:  # noqa: ARG002
        """Return the last line of an instance's console."""
        async with self._client() as client:
            answer = await client.get_console_output(InstanceId=job)
        lines = str(answer.get("Output") or "").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        errors = [line for line in said if "forebay: error:" in line]
        return (errors or said or [""])[-1]

    def _client(self) -> "_Asked":
        return _Asked(self._cluster)

    async def _pages(self, operation: str, **fields: Any) -> Any:
        async with self._client() as client:
            async for page in client.get_paginator(operation).paginate(**fields):
                yield page


class _Asked:
    """A client of EC2 for the length of a block, whose refusals are errors of a pool."""

    def __init__(self, cluster: Ec2Cluster) -> None:
        self._making = cluster.boto_session.create_client("ec2", region_name=cluster.region)
        self._asking = asking("about the instances of the workers")

    async def __aenter__(self) -> Any:
        self._asking.__enter__()
        return await self._making.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._making.__aexit__(kind, error, traceback)
        try:
            self._asking.__exit__(kind, error, traceback)
        except ClusterError as refused:
            raise of_a_pool(refused) from error


def _seen(instance: dict[str, Any]) -> Seen:
    state = instance["State"]["Name"]
    stage = _STAGES.get(state, Stage.OVER)
    code = instance.get("StateReason", {}).get("Code", "")
    return Seen(
        stage,
        state,
        reason=reason_of(instance) if stage is Stage.OVER else "",
        node=instance["InstanceId"],
        given_up=code in _TAKEN,
    )
