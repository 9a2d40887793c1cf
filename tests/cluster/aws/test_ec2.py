"""Clusters on EC2: what is asked of AWS, what runs there, and what is left when it goes wrong."""

import base64
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cluster.aws.specification import Ec2ClusterSpecification
from forebay.cluster.aws.start import started
from forebay.cluster.keeping.place import passing_place
from forebay.cluster.keeping.talk import scale
from forebay.cluster.spending import Spending
from tests.cluster.aws.cloud import KEYS, Cloud



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
        scheduler, *workers = sorted(instances(aws), key=lambda each: each.instance_type == "c5.large")
        assert [each.instance_type for each in workers] == ["c5.large"] * 2
        assert (scheduler.instance_type, scheduler.lifecycle) == ("t3.medium", None)
        for each in workers:
            assert each.lifecycle == "spot"
            assert each.image_id == asked.machine_image
            assert each.subnet_id == asked.subnets[0]
            assert [group.id for group in each.security_groups] == list(asked.security_groups)
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
        assert client.scheduler.address.startswith("tls://")
        assert set(client.run(lambda: os.environ["SITE"]).values()) == {"north sea"}
        # The keys are those of this cluster alone: Dask here goes on as it was.
        import dask

        assert not dask.config.get("distributed.comm.require-encryption")
        assert spending(asked).promised() == pytest.approx(0.24)

        # The notice comes while a unit is computed: that is finished, and nothing more begun there.
        gate = tmp_path / "gate"
        unit = client.submit(hold, str(gate), pure=False, retries=0, allow_other_workers=False)
        eventually(lambda: bool(unit.key) and any(client.processing().values()))
        (address,) = [where for where, keys in client.processing().items() if keys]
        busy = client.scheduler_info(n_workers=-1)["workers"][address]["name"]
        (taken,) = [each for each in workers if tags(each)["Name"] == busy]
        # The idle one goes, for one is enough.
        scale(client, 1)
        eventually(lambda: len(instances(aws)) == 2)
        aws.machines[taken.id].metadata.take_away()
        eventually(lambda: _status(client, address) == "closing_gracefully")
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
    assert "Traceback" not in aws.logs(), aws.logs()


def _status(client: Any, address: str) -> str:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return str(workers.get(address, {}).get("status", "gone"))
