"""Clusters on Fargate: what is asked of ECS, and what is left of it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from pydantic import ValidationError
from tests.cluster.aws.cloud import REGION, Cloud
from tests.cluster.aws.tasks import running_tasks

from forebay.cluster.aws.owner import owning
from forebay.cluster.aws.reap import reap
from forebay.cluster.aws.specification import FargateClusterSpecification
from forebay.cluster.aws.start import started
from forebay.cluster.keeping.environment import worker_environment
from forebay.cluster.keeping.place import passing_place
from forebay.cluster.keeping.pool import Stage
from forebay.cluster.keeping.talk import scale
from forebay.cluster.spending import Spending

ASSUME = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture
def specification(
    aws: Cloud, account: dict[str, Any], tmp_path: Path
) -> FargateClusterSpecification:
    """A cluster in an account where the administrator has made all that it takes."""
    iam = aws.client("iam")
    roles = {}
    for name in ("forebay-task", "forebay-execution"):
        if name not in {each["RoleName"] for each in iam.list_roles()["Roles"]}:
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=ASSUME)
        roles[name] = iam.get_role(RoleName=name)["Role"]["Arn"]
    # Moto's tasks go on to their next state when they have been looked at so often.
    from moto.moto_api import state_manager

    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 6})
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="forebay")
    # Every account of AWS has it so; moto has to be told.
    ecs.put_account_setting(name="taskLongArnFormat", value="enabled")
    logs = aws.client("logs")
    if not logs.describe_log_groups()["logGroups"]:
        logs.create_log_group(logGroupName="forebay")
    return FargateClusterSpecification(
        region=REGION,
        image="registry.example.org/forebay:1",
        subnets=account["subnets"],
        security_groups=account["security_groups"],
        ecs_cluster="forebay",
        task_role=roles["forebay-task"],
        execution_role=roles["forebay-execution"],
        maximum_workers=3,
        threads_per_worker=4,
        market="spot",
        cost_per_worker_hour=0.2,
        budget_per_day=10.0,
        environment={"SITE": "north sea"},
        folder=tmp_path / "clusters",
    )


def test_tasks_are_as_they_were_asked_for_and_stop(
    aws: Cloud, specification: FargateClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Definition, capacity, network, tags and command of a worker; what it costs; its end."""
    from forebay.cluster.aws.fargate import FargatePool, FargateWorker

    assert specification.plan("cloud").problems == ()
    ecs = aws.client("ecs")
    spent = Spending(specification.folder / "cloud" / "spending.sqlite")

    async def bought(owner: Any) -> None:
        cluster, options = asked_of(specification, owner, spent)
        worker = FargateWorker("tls://10.0.0.1:8786", name="cloud.1", **options)
        await worker.start()
        pool = FargatePool(cluster)
        (seen,) = (await pool.look()).values()
        assert seen.stage is Stage.RUNNING
        (task,) = ecs.describe_tasks(cluster="forebay", tasks=[worker.task_arn], include=["TAGS"])[
            "tasks"
        ]
        tags = {each["key"]: each["value"] for each in task["tags"]}
        assert tags["forebay:cluster"] == "cloud"
        (override,) = task["overrides"]["containerOverrides"]
        assert override["command"][-3:] == ["tls://10.0.0.1:8786", "--name", "cloud.1"]
        assert "forebay.cluster.aws.node" in override["command"]
        definition = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
        found = definition["taskDefinition"]
        assert (found["cpu"], found["memory"]) == ("4096", "16384")
        (container,) = found["containerDefinitions"]
        given = {each["name"]: each["value"] for each in container["environment"]}
        assert given == worker_environment({"SITE": "north sea"}, gpus=False)
        assert container["stopTimeout"] == 120
        assert spent.promised() == pytest.approx(0.2)
        await pool.give_up([worker.task_arn])
        assert not spent.running()
        (over,) = (await pool.look()).values()
        assert over.stage is Stage.OVER
        # One more, for the test of what a killed command leaves.
        await FargateWorker("tls://10.0.0.1:8786", name="cloud.2", **options).start()

    with owning(specification.folder, "cloud") as owner:
        asyncio.run(bought(owner))
        assert reap(specification, "cloud") == []
    (orphan,) = reap(specification, "cloud")
    assert orphan.start == owner.start
    assert ecs.list_tasks(cluster="forebay", desiredStatus="RUNNING")["taskArns"] == []
    assert ecs.list_task_definitions()["taskDefinitionArns"] == []
    assert not spent.running()


def asked_of(
    specification: FargateClusterSpecification, owner: Any, spent: Spending
) -> tuple[Any, dict[str, Any]]:
    """Return what workers' tasks are made from, where there is no scheduler, and their options."""
    from distributed.core import Status

    from forebay.cluster.aws.fargate import Fargate, FargateWorker

    cluster: Any = Fargate(specification, owner, spent, None, asynchronous=True)
    cluster.status = Status.closed
    cluster.cluster_name = "forebay"
    options = {
        "client": cluster._client,
        "cluster_arn": "forebay",
        "task_definition_arn": cluster.worker_task_definition_arn,
        "vpc_subnets": list(specification.subnets),
        "security_groups": list(specification.security_groups),
        "fargate": True,
        "fargate_capacity_provider": "FARGATE_SPOT",
        "environment": {},
        "tags": cluster.tags,
        "task_kwargs": cluster._worker_task_kwargs,
        "cpu": specification.cpu,
        "mem": 16384,
        "gpu": 0,
        "nthreads": None,
        "extra_args": [],
        "fargate_use_private_ip": True,
        "fargate_cluster": cluster,
    }
    cluster.scheduler = FargateWorker("tls://10.0.0.1:8786", name="cloud.0", **options)
    return cluster, options


class Twice:
    """How often something is tried, in the place of for how long."""

    def __init__(self, *_: Any) -> None:
        self._left = 2
        self._error: Exception | None = None

    def run(self) -> bool:
        self._left -= 1
        if self._left < 0 and self._error is not None:
            raise self._error
        return True

    def set_exception(self, error: Exception) -> None:
        self._error = error


def test_a_task_whose_answer_was_lost_is_started_once(
    aws: Cloud, specification: FargateClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for again by the same token, by which ECS knows it; another market has its own."""
    from aiobotocore.client import AioBaseClient

    from forebay.cluster.aws.fargate import FargateWorker

    both = specification.model_copy(update={"market": "spot-or-on-demand"})
    spent = Spending(both.folder / "cloud" / "spending.sqlite")
    tokens: list[str] = []
    known: dict[str, Any] = {}
    make = AioBaseClient._make_api_call

    async def lost_once(self: Any, name: str, fields: dict[str, Any]) -> Any:
        if name != "RunTask":
            return await make(self, name, fields)
        (market,) = fields["capacityProviderStrategy"]
        token = fields.get("clientToken", "")
        tokens.append(token)
        if market["capacityProvider"] == "FARGATE_SPOT":
            raise RuntimeError("Capacity is unavailable at this time.")
        # As ECS does; moto has no eye for tokens.
        if token and token in known:
            return known[token]
        known[token] = await make(self, name, fields)
        raise ReadTimeoutError(endpoint_url="https://ecs.example.org")

    async def used(owner: Any) -> None:
        _, options = asked_of(both, owner, spent)
        worker = FargateWorker("tls://10.0.0.1:8786", name="cloud.1", **options)
        await worker.start()
        assert [each.machine for each in spent.running()] == [worker.task_arn]

    monkeypatch.setattr(AioBaseClient, "_make_api_call", lost_once)
    monkeypatch.setattr("dask_cloudprovider.aws.ecs.Timeout", Twice)
    with owning(both.folder, "cloud") as owner:
        asyncio.run(used(owner))
    spot, again, first, second = tokens
    assert spot == again != first == second
    running = aws.client("ecs").list_tasks(cluster="forebay", desiredStatus="RUNNING")
    assert len(running["taskArns"]) == 1
    assert len(reap(both, "cloud")) == 1


@pytest.mark.long
def test_a_cluster_computes_and_leaves_nothing(
    aws: Cloud, specification: FargateClusterSpecification, tmp_path: Path
) -> None:
    """From its definitions to its bill: scheduler and worker run the commands of their tasks."""
    from moto.moto_api import state_manager

    # These run until they are told to stop.
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 10**6})
    quick = specification.model_copy(update={"look_seconds": 0.5, "threads_per_worker": 2})
    place = passing_place(quick.folder, "cloud")
    with running_tasks(aws, tmp_path) as tasks:
        with started(quick, "cloud", place) as client:
            scale(client, 1)
            client.wait_for_workers(1, timeout=90)
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3
            assert set(client.run(lambda: os.environ["SITE"]).values()) == {"north sea"}
            connected: Any = client.scheduler
            assert connected.address.startswith("tls://")
            scheduler, worker = (each.task for each in tasks.running.values())
            assert (scheduler.capacity_provider_name, worker.capacity_provider_name) == (
                "FARGATE",
                "FARGATE_SPOT",
            )
            assert Spending(quick.folder / "cloud" / "spending.sqlite").promised() == 0.2
        assert {each.last_status for each in (scheduler, worker)} == {"STOPPED"}
    assert aws.client("ecs").list_task_definitions()["taskDefinitionArns"] == []
    assert aws.client("ssm").describe_parameters()["Parameters"] == []
    assert not Spending(quick.folder / "cloud" / "spending.sqlite").running()
    assert not list((quick.folder / "cloud" / "starts").iterdir())


def test_what_is_not_there_is_said(aws: Cloud, specification: FargateClusterSpecification) -> None:
    """Before anything is started."""
    wrong = specification.model_copy(update={"ecs_cluster": "nowhere", "log_group": "none"})
    problems = wrong.plan("cloud").problems
    assert "there is no active ECS cluster 'nowhere' in eu-central-1" in problems
    assert "there is no log group 'none' in eu-central-1" in problems


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cpu": 3000}, "cpu = 3000: Fargate has 256, 512"),
        ({"memory": "64 GiB"}, r"cpu = 4096 goes with 8 to 30 GiB of memory in steps of 1"),
        ({"budget_per_day": 1.0}, "budget_per_day needs cost_per_worker_hour"),
        ({"protocol": "tcp"}, "machines on AWS speak TLS only"),
        ({"environment": {"A": "$(id)"}}, "may have no quotes"),
        ({"tags": {"forebay:cluster": "x"}}, "is given by forebay or AWS"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    """When the configuration is read, without asking AWS."""
    role = "arn:aws:iam::123456789012:role/x"
    given: dict[str, Any] = {
        "region": REGION,
        "image": "forebay:1",
        "subnets": ["subnet-0"],
        "security_groups": ["sg-0"],
        "ecs_cluster": "forebay",
        "task_role": role,
        "execution_role": role,
        "maximum_workers": 1,
    }
    with pytest.raises(ValidationError, match=why):
        FargateClusterSpecification.model_validate(given | change)
