"""Clusters on EC2: what is asked of AWS, what runs there, and what is left when it goes wrong."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from dask_cloudprovider.aws.ec2 import EC2Instance
from tests.cluster.aws.cloud import KEYS, Cloud
from tests.tracebacks import TRACEBACK
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.cluster import ClusterError
from forebay.cluster.aws import certificates, unanswered
from forebay.cluster.aws.ec2 import Ec2Cluster, Ec2Worker, _Instance, complete
from forebay.cluster.aws.ec2_pool import Ec2Pool
from forebay.cluster.aws.owner import owning
from forebay.cluster.aws.reap import reap
from forebay.cluster.aws.specification import Ec2ClusterSpecification
from forebay.cluster.aws.start import started
from forebay.cluster.keeping.certificates import new_certificate
from forebay.cluster.keeping.fit import expectation
from forebay.cluster.keeping.place import passing_place
from forebay.cluster.keeping.pool import PoolSilentError
from forebay.cluster.keeping.site import site_of
from forebay.cluster.keeping.talk import scale
from forebay.cluster.spending import Spending

pytestmark = pytest.mark.timeout(300)
WORKER = "c5.large"


def eventually(claim: Callable[[], bool], seconds: float = 100.0) -> None:
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, claim
        time.sleep(0.05)


def instances(aws: Cloud, *states: str) -> list[Any]:
    return [each for each in aws.backend.all_instances() if each.state in (states or ("running",))]


def tags(instance: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def spending(specification: Ec2ClusterSpecification) -> Spending:
    return Spending(specification.folder / "cloud" / "spending.sqlite")


@pytest.fixture(autouse=True)
def nothing_left(aws: Cloud) -> Iterator[None]:
    """Each test ends all instances that it starts, or is about those that are left."""
    yield
    assert not aws.failures
    assert not instances(aws, "pending", "running")


def hold(path: str) -> int:
    """Be at work until a file is there."""
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


def test_a_cluster_computes_drains_and_leaves_nothing(
    aws: Cloud, specification: Ec2ClusterSpecification, tmp_path: Path
) -> None:
    """Machines are as they were asked for; one that is taken away finishes its unit first."""
    asked = specification.model_copy(
        update={
            "market": "spot-or-on-demand",
            "spot_price": 0.07,
            "tags": {"project": "plankton"},
            "cost_per_worker_hour": 0.1,
            "cost_of_scheduler_per_hour": 0.04,
            "budget_per_day": 10.0,
            "environment": {"SITE": "north sea"},
            "look_seconds": 0.3,
        }
    )
    with started(asked, "cloud", passing_place(asked.folder, "cloud")) as client:
        scale(client, 2)
        client.wait_for_workers(2, timeout=60)
        scheduler, *workers = sorted(instances(aws), key=lambda each: each.instance_type == WORKER)
        assert [each.instance_type for each in workers] == [WORKER] * 2
        assert (scheduler.instance_type, scheduler.lifecycle) == ("t3.medium", None)
        for each in workers:
            assert each.lifecycle == "spot"
            assert each.image_id == asked.machine_image
            assert each.subnet_id == asked.subnets[0]
            groups = [group.id for nic in each.nics.values() for group in nic.group_set]
            assert groups == list(asked.security_groups)
            assert tags(each)["forebay:cluster"] == "cloud"
            assert tags(each)["project"] == "plankton"
            assert tags(each)["Name"].startswith("cloud.")
        # What they run knows where the certificates are, and not what they are.
        parameter = aws.client("ssm").describe_parameters()["Parameters"]
        assert [each["Type"] for each in parameter] == ["SecureString"]
        for machine in aws.machines.values():
            assert parameter[0]["Name"] in machine.user_data
            assert "PRIVATE KEY" not in machine.user_data
            assert "DASK_INTERNAL" not in machine.user_data
            assert KEYS["AWS_SECRET_ACCESS_KEY"] not in machine.user_data
        connected: Any = client.scheduler
        assert connected.address.startswith("tls://")
        assert set(client.run(lambda: os.environ["SITE"]).values()) == {"north sea"}
        # The keys are those of this cluster alone: Dask here goes on as it was.
        import dask

        assert not dask.config.get("distributed.comm.require-encryption")
        assert spending(asked).promised() == pytest.approx(0.24)

        # The notice comes while a unit is computed: that is finished, and nothing more begun there.
        gate = tmp_path / "gate"
        unit: Any = client.submit(hold, str(gate), pure=False, retries=0, allow_other_workers=False)
        eventually(lambda: any(at_work for _, _, at_work in crew_of(client).values()))
        ((address, busy),) = [
            (where, name) for where, (name, _, at_work) in crew_of(client).items() if at_work
        ]
        (taken,) = [each for each in workers if tags(each)["Name"] == busy]
        # The idle one goes, for one is enough.
        scale(client, 1)
        eventually(lambda: len(instances(aws)) == 2)
        aws.machines[taken.id].metadata.take_away()
        eventually(lambda: crew_of(client)[address][1] == "closing_gracefully")
        assert not unit.done()
        gate.touch()
        pid = unit.result(timeout=30)
        eventually(lambda: taken.state == "terminated")
        # Another takes its place.
        client.wait_for_workers(1, timeout=60)
        assert client.submit(os.getpid, pure=False).result(timeout=60) != pid
    assert aws.client("ssm").describe_parameters()["Parameters"] == []
    assert not spending(asked).running()
    assert not list((asked.folder / "cloud" / "starts").iterdir())
    # Dask's own processes log one, too, when they are ended.
    assert not [each for each in TRACEBACK.findall(aws.logs()) if "/forebay/" in each]


def crew_of(client: Any) -> dict[str, tuple[str, str, bool]]:
    """Return the name and status of each worker by its address, and whether it is at work."""

    def look(dask_scheduler: Any = None) -> dict[str, tuple[str, str, bool]]:
        return {
            address: (str(each.name), each.status.name, bool(each.processing))
            for address, each in dask_scheduler.workers.items()
        }

    found: dict[str, tuple[str, str, bool]] = client.run_on_scheduler(look)
    return found


def asked_of(specification: Ec2ClusterSpecification, owner: Any, spent: Spending) -> Any:
    """Return what workers' instances are made from, where there is no scheduler."""
    from distributed.core import Status

    cluster: Any = Ec2Cluster(specification, owner, spent, None, asynchronous=True)
    cluster.status = Status.closed
    cluster.scheduler = SimpleNamespace(
        address="tls://10.0.0.1:8786", instance={"InstanceId": "i-of-the-scheduler"}
    )
    complete(cluster.boto_session, specification)
    return cluster


def bought(
    specification: Ec2ClusterSpecification, owner: Any, spent: Spending, number: int = 1
) -> list[Any]:
    """Ask for workers' instances, and forget about them."""

    async def ask() -> list[Any]:
        cluster = asked_of(specification, owner, spent)
        workers = [
            Ec2Worker("tls://10.0.0.1:8786", name=f"cloud.{each}", **cluster.worker_options)
            for each in range(number)
        ]
        for each in workers:
            await each.create_vm()
        return [each.instance for each in workers]

    return asyncio.run(ask())


@pytest.fixture
def asleep(aws: Cloud) -> Iterator[None]:
    """Instances are there and nothing runs on them."""
    aws.boots = False
    yield
    aws.boots = True


@pytest.fixture
def paid(specification: Ec2ClusterSpecification) -> Ec2ClusterSpecification:
    return specification.model_copy(update={"cost_per_worker_hour": 0.1, "budget_per_day": 10.0})


@pytest.mark.usefixtures("asleep")
def test_orphans_are_found_by_their_tags_and_ended(
    aws: Cloud, paid: Ec2ClusterSpecification
) -> None:
    """What a killed command has left goes; what runs, and what is another site's, stays."""
    spent = spending(paid)
    with owning(paid.folder, "cloud") as alive:
        (kept,) = bought(paid, alive, spent)
        with owning(paid.folder, "cloud") as killed:
            orphans = bought(paid, killed, spent, 2)
            certificates.publish(*new_certificate(), killed, paid.region, {})
        with owning(paid.folder.parent / "elsewhere", "cloud") as stranger:
            (foreign,) = bought(paid, stranger, spent)
        # The command died before it could write down what it was given.
        lost = next(each for each in spent.charges() if each.machine == orphans[0]["InstanceId"])
        with spent._writing() as connection:
            connection.execute("UPDATE charges SET machine = NULL WHERE token = ?", (lost.token,))
        expected = {each["InstanceId"] for each in orphans}
        assert {each.machine for each in reap(paid, "cloud", dry_run=True)} == expected
        assert len(instances(aws)) == 4
        assert {each.machine for each in reap(paid, "cloud")} == expected
        there = {each.id for each in instances(aws)}
        assert there == {kept["InstanceId"], foreign["InstanceId"]}
        assert aws.client("ssm").describe_parameters()["Parameters"] == []
        assert reap(paid, "cloud") == []
        charged = {each.machine for each in spent.charges() if each.ended is not None}
        assert charged >= expected
        (other,) = reap(paid, "cloud", any_site=True)
        assert other.site == site_of(paid.folder.parent / "elsewhere")
    assert [each.machine for each in reap(paid, "cloud")] == [kept["InstanceId"]]
    assert not [each for each in spent.running() if each.start == alive.start]


@pytest.mark.usefixtures("asleep")
def test_an_instance_whose_answer_was_lost_is_charged_until_it_is_ended(
    aws: Cloud, paid: Ec2ClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known by its tags; what never came of a request is taken back after a while."""

    async def used(owner: Any, spent: Spending) -> None:
        pool = Ec2Pool(asked_of(paid, owner, spent))
        lose_answers(monkeypatch, started=True)
        with pytest.raises(PoolSilentError, match="Read timeout"):
            await pool.ask("cloud.1", without=())
        (charge,) = spent.running()
        assert charge.machine is None
        assert set(await pool.look()) == {instances(aws)[0].id}
        (machine,) = [str(each.id) for each in instances(aws)]
        assert [each.machine for each in spent.running()] == [machine]
        await pool.give_up([machine])
        assert [each.ended is None for each in spent.charges()] == [False]

        lose_answers(monkeypatch, started=False)
        with pytest.raises(PoolSilentError, match="Read timeout"):
            await pool.ask("cloud.2", without=())
        await pool.look()
        assert len(spent.running()) == 1
        monkeypatch.setattr(unanswered, "SEEN_SECONDS", -1.0)
        await pool.look()
        assert spent.running() == []

    with owning(paid.folder, "cloud") as owner:
        asyncio.run(used(owner, spending(paid)))


@pytest.mark.usefixtures("asleep")
def test_a_scheduler_whose_answer_was_lost_is_charged_until_it_is_reaped(
    aws: Cloud, paid: Ec2ClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails, and says what to do; what was refused is not charged."""
    asked, spent = paid.model_copy(update={"cost_of_scheduler_per_hour": 0.5}), spending(paid)

    def refuse(*_: Any, **__: Any) -> None:
        from moto.ec2.exceptions import EC2ClientError

        raise EC2ClientError("InstanceLimitExceeded", "There are as many as there may be.")

    with monkeypatch.context() as patch:
        patch.setattr(aws.backend, "run_instances", refuse)
        with (
            pytest.raises(ClusterError, match=r"as many as there may be[^:]*$"),
            started(asked, "cloud", passing_place(asked.folder, "cloud")),
        ):
            pass
    assert spent.charges() == []
    reap(asked, "cloud")

    lose_answers(monkeypatch, started=True)
    with (
        pytest.raises(ClusterError, match=r"Read timeout.*'forebay cluster reap cloud' ends it"),
        started(asked, "cloud", passing_place(asked.folder, "cloud")),
    ):
        pass
    assert spent.promised() == pytest.approx(0.5)
    (orphan,) = reap(asked, "cloud")
    assert [each.machine for each in spent.charges()] == [orphan.machine]
    assert not spent.running()


def lose_answers(monkeypatch: pytest.MonkeyPatch, *, started: bool) -> None:
    """Have no request for an instance be answered, whether one is started for it or not."""
    create: Any = EC2Instance.create_vm

    async def unknown(*_: Any) -> tuple[str, None]:
        return "10.0.0.9", None

    async def create_vm(instance: Any) -> Any:
        if started:
            await create(instance)
            instance.instance = None
        raise ReadTimeoutError(endpoint_url="https://ec2.example.org")

    monkeypatch.setattr(_Instance, "configure_vm", unknown)
    monkeypatch.setattr(EC2Instance, "create_vm", create_vm)


@pytest.mark.usefixtures("asleep")
def test_reap_shows_and_ends_what_a_killed_command_has_left(
    aws: Cloud,
    account: dict[str, Any],
    paid: Ec2ClusterSpecification,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a command: first only shown, then ended, then there is nothing any more."""
    monkeypatch.chdir(tmp_path)
    given = {"kind": "aws-ec2", "folder": str(paid.folder), **account}
    lines = [f"{key} = {json.dumps(each)}" for key, each in given.items()]
    text = "\n".join(["[clusters.here]", "kind = 'local'", "[clusters.cloud]", *lines])
    (tmp_path / "forebay.toml").write_text(text)
    with owning(paid.folder, "cloud") as killed:
        (orphan,) = bought(paid, killed, spending(paid))

    def told(*words: str, code: int = 0) -> str:
        ended = CliRunner().invoke(app, ["cluster", "reap", *words])
        assert ended.exit_code == code, ended.output
        return ended.output

    (shown,) = map(json.loads, told("cloud", "--dry-run", "--json").splitlines())
    assert (shown["machine"], shown["start"]) == (orphan["InstanceId"], killed.start)
    assert len(instances(aws)) == 1
    assert orphan["InstanceId"] in told("cloud")
    assert not instances(aws)
    assert told("cloud") == "0 orphans of cloud ended\n"
    assert "'here' is no cluster on AWS" in told("here", code=2)


@pytest.mark.usefixtures("asleep")
def test_without_spot_capacity_the_instance_is_bought_on_demand(
    aws: Cloud, paid: Ec2ClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each subnet is asked first; with spot alone, it is an error that says what to do."""
    from moto.ec2.exceptions import EC2ClientError

    run, asked = aws.backend.run_instances, []

    def scarce(*args: Any, **fields: Any) -> Any:
        asked.append(bool(fields.get("instance_market_options")))
        if asked[-1]:
            raise EC2ClientError("InsufficientInstanceCapacity", "There is no Spot capacity.")
        return run(*args, **fields)

    monkeypatch.setattr(aws.backend, "run_instances", scarce)
    both = paid.model_copy(update={"market": "spot-or-on-demand"})
    with owning(paid.folder, "cloud") as owner:
        (instance,) = bought(both, owner, spending(paid))
        assert instance.get("InstanceLifecycle") is None
        assert asked == [True, True, False]
        assert spending(paid).promised() == pytest.approx(0.1)
        with pytest.raises(
            ClusterError, match=r"EC2 has no c5.large now: Insuff.* \(spot, subnet-"
        ):
            bought(paid.model_copy(update={"market": "spot"}), owner, spending(paid))
        assert spending(paid).promised() == pytest.approx(0.1)
        with pytest.raises(ClusterError, match="budget"):
            bought(paid.model_copy(update={"budget_per_day": 0.15}), owner, spending(paid))
    reap(paid, "cloud")


def test_check_shows_the_request_and_starts_nothing(
    aws: Cloud, paid: Ec2ClusterSpecification
) -> None:
    """What is shown is what the code that starts machines asks for, made as a dry run."""
    wanted = {
        "market": "spot",
        "spot_price": 0.05,
        "cuda": True,
        "cost_of_scheduler_per_hour": 0.04,
    }
    plan = paid.model_copy(update=wanted).plan("cloud")
    assert plan.problems == ()
    assert not instances(aws)
    asked = json.loads(plan.submitted)
    assert asked["InstanceType"] == WORKER
    assert asked["ImageId"] == paid.machine_image
    assert asked["IamInstanceProfile"] == {"Name": "forebay-worker"}
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert asked["InstanceMarketOptions"]["SpotOptions"]["MaxPrice"] == "0.05"
    assert asked["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    (command,) = [line for line in asked["UserData"] if paid.image in line]
    # The frames of units are to be where its GPUs are, and the versions those of this side.
    assert "--gpus=all" in command
    assert ' -e DASK_ARRAY__BACKEND="cupy" ' in command
    assert f' -e FOREBAY_EXPECTS="{expectation()}" ' in command
    assert dict(plan.facts)["spent today"] == "0.00"
    assert plan.cost_per_hour == pytest.approx((0.04, 3 * 0.1 + 0.04))
