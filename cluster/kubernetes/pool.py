"""Workers' groups and pods of Kubernetes, as the keeper sees them."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from forebay.cluster.errors import BudgetSpentError
from forebay.cluster.keeping.pool import PoolError, PoolSilentError, Seen, Stage
from forebay.cluster.kubernetes.commands import kubectl
from forebay.cluster.kubernetes.owner import START_LABEL, Owner
from forebay.cluster.kubernetes.removal import GROUPS
from forebay.cluster.kubernetes.resources import GROUP_LABEL, as_json, worker_group
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.spending import Spending

_NEVER = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
}
"""What a container waits for in vain."""
_GOING = "Terminating"
_NOT_ITS_FAULT = {"Evicted", "NodeLost", "NodeShutdown", "Preempting", "Shutdown", "Terminated"}


class KubernetesPool:
    """The groups of the workers of one start, a worker in each.

    A worker is charged for from when its pod runs until its group is gone; what waits for a node
    is promised its first hour, and has cost nothing.

    Parameters
    ----------
    specification
        What the cluster is.
    owner
        The start.
    spending
        What the cluster has cost.
    larger
        Whether it is the group of the larger worker that is seen to, rather than all others.
    """

    def __init__(
        self,
        specification: KubernetesClusterSpecification,
        owner: Owner,
        spending: Spending,
        *,
        larger: bool = False,
    ) -> None:
        self._larger = larger
        self._groups = f"{owner.start}-l" if larger else f"{owner.start}-"
        self._specification = specification
        self._owner = owner
        self._spending = spending
        self._number = 0
        self._said: dict[str, str] = {}

    async def ask(self, name: str, *, without: Collection[str]) -> str:
        """Make the group of a worker, if the budget has room; return what it is called."""
        each = self._specification
        self._number += 1
        group = f"{self._groups}{self._number}"
        try:
            token = self._spending.reserve(
                self._owner.start,
                price=each.cost_per_worker_hour or 0.0,
                budget_per_day=each.budget_per_day,
            )
        except BudgetSpentError as error:
            raise PoolSilentError(str(error)) from error
        # Whatever becomes of the request, the group is known by its name.
        self._spending.began(token, group)
        made = worker_group(each, self._owner, group, name, without, larger=self._larger)
        try:
            await kubectl(each, "create", "--filename=-", given=as_json([made]))
        except PoolError:
            self._spending.ended([group])
            raise
        return group

    async def look(self) -> Mapping[str, Seen]:
        """Return all groups of this start; one whose worker has ended is removed.

        The operator would let that worker begin again, and again.
        """
        label = f"--selector={START_LABEL}={self._owner.start}"
        try:
            said = await kubectl(self._specification, "get", f"{GROUPS},pods", label, "-o", "json")
        except PoolError as error:
            # Whatever it is that is wrong, what runs is not known now.
            raise PoolSilentError(str(error)) from error
        seen = seen_in(json.loads(said)["items"])
        found = {group: each for group, each in seen.items() if self._is_own(group)}
        self._charge(found)
        ended = {group: each for group, each in found.items() if each.stage is Stage.OVER}
        self._said = {group: each.reason for group, each in ended.items()}
        await self.give_up([group for group, each in ended.items() if each.state != _GOING])
        return found

    def _is_own(self, group: str) -> bool:
        """Tell whether it is a group of the kind that is seen to."""
        return group.removeprefix(self._groups).isdigit()

    def _charge(self, found: Mapping[str, Seen]) -> None:
        """Write down which workers cost something."""
        charged = {
            str(each.machine)
            for each in self._spending.running()
            if each.start == self._owner.start and self._is_own(str(each.machine))
        }
        stages = {group: each.stage for group, each in found.items()}
        over = {group for group in charged if stages.get(group, Stage.OVER) is Stage.OVER}
        waiting = {group for group in charged if stages.get(group) is Stage.WAITING}
        if over:
            self._spending.ended(over)
        if waiting:
            self._spending.postponed(waiting)

    async def give_up(self, jobs: Collection[str]) -> None:
        """Remove groups, and their workers with them."""
        if jobs:
            options = ("--ignore-not-found", "--wait=false")
            await kubectl(self._specification, "delete", GROUPS, *sorted(jobs), *options)

    async def story(self, job: str, name: str) -> str:  # noqa: ARG002
        """Return what was said last in the pod of a worker that ended, as the last look saw it."""
        return self._said.get(job, "")


def seen_in(items: Collection[Mapping[str, Any]]) -> dict[str, Seen]:
    """Return how far each group of workers is, from groups and pods as Kubernetes tells of them."""
    groups = [each for each in items if each["kind"] == "DaskWorkerGroup"]
    pods: dict[str, list[Mapping[str, Any]]] = {}
    for each in items:
        if each["kind"] == "Pod" and "deletionTimestamp" not in each["metadata"]:
            group = each["metadata"].get("labels", {}).get(GROUP_LABEL, "")
            pods.setdefault(group, []).append(each)
    return {
        each["metadata"]["name"]: _seen(each, pods.get(each["metadata"]["name"], []))
        for each in groups
        # What belongs to the cluster's resource itself is empty.
        if each["spec"]["worker"].get("replicas", 1)
    }


async def scheduler_seen(specification: KubernetesClusterSpecification, owner: Owner) -> Seen:
    """Return how far the pod of a scheduler is.

    Raises
    ------
    PoolError
        If Kubernetes does not allow to look.
    PoolSilentError
        If it does not answer.
    """
    label = f"--selector={START_LABEL}={owner.start},dask.org/component=scheduler"
    pods = json.loads(await kubectl(specification, "get", "pods", label, "-o", "json"))["items"]
    return _seen_pod(pods[-1]) if pods else Seen(Stage.WAITING, "no pod yet")


def _seen(group: Mapping[str, Any], pods: list[Mapping[str, Any]]) -> Seen:
    if "deletionTimestamp" in group["metadata"]:
        return Seen(Stage.OVER, _GOING, given_up=True)
    if not pods:
        return Seen(Stage.WAITING, "no pod yet", "the Dask operator has made no pod yet")
    # The newest: the others are those that it has taken the place of.
    pod = max(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
    return _seen_pod(pod)


def _seen_pod(pod: Mapping[str, Any]) -> Seen:
    status, node = pod.get("status", {}), pod["spec"].get("nodeName", "")
    phase = status.get("phase", "Pending")
    for each in status.get("containerStatuses", []):
        states = (each.get("state", {}), each.get("lastState", {}))
        ended = next((state["terminated"] for state in states if "terminated" in state), None)
        if ended is not None:
            code = ended.get("exitCode", 0)
            said = str(ended.get("message", "")).strip().splitlines()
            reason = ": ".join([f"exit code {code}", *said[-1:]])
            state = ended.get("reason", phase)
            return Seen(Stage.OVER, state, reason, node, given_up=code == 0)
        waits = each.get("state", {}).get("waiting", {})
        if waits.get("reason") in _NEVER:
            return Seen(Stage.OVER, waits["reason"], str(waits.get("message", "")), node)
    if phase in {"Failed", "Succeeded"}:
        state = status.get("reason", phase)
        given_up = state in _NOT_ITS_FAULT or phase == "Succeeded"
        return Seen(Stage.OVER, state, str(status.get("message", "")), node, given_up=given_up)
    if phase == "Running":
        return Seen(Stage.RUNNING, phase, node=node)
    why = [
        str(each.get("message", each.get("reason", "")))
        for each in status.get("conditions", [])
        if each["type"] == "PodScheduled" and each["status"] == "False"
    ]
    return Seen(Stage.WAITING, phase, "; ".join(why), node)
