"""A worker with more memory than the others, on EC2 and on Fargate."""

from typing import Any

import pytest
from pydantic import ValidationError
from tests.cluster.aws.cloud import Cloud
from tests.cluster.aws.test_ec2 import eventually, instances, spending, tags
from tests.cluster.aws.test_fargate import specification as fargate

from forebay.cluster import ClusterError
from forebay.cluster.aws.definitions import LARGER, SCHEDULER, WORKER, definition
from forebay.cluster.aws.owner import Owner
from forebay.cluster.aws.specification import (
    Ec2ClusterSpecification,
    FargateClusterSpecification,
)
from forebay.cluster.aws.start import started
from forebay.cluster.client import known_workers
from forebay.cluster.keeping.place import passing_place
from forebay.cluster.keeping.talk import tell_demand
from forebay.cluster.larger import memory_ceiling
from forebay.cluster.sizing import Demand

__all__ = ["fargate"]

pytestmark = pytest.mark.timeout(300)
GIB = 2**30


def with_ceiling(
    specification: Ec2ClusterSpecification, gibibytes: int, *types: str, **more: Any
) -> Ec2ClusterSpecification:
    given = {"memory_ceiling": f"{gibibytes} GiB", "larger_instance_types": types, **more}
    return Ec2ClusterSpecification.model_validate({**specification.model_dump(), **given})


def test_the_type_with_the_least_memory_that_is_enough_is_taken(
    aws: Cloud, specification: Ec2ClusterSpecification
) -> None:
    """What it has EC2 itself says."""
    asked = with_ceiling(
        specification, 16, "r5.4xlarge", "r5.large", "m5.large", cost_of_larger_per_hour=0.126
    )
    larger = asked.larger()
    assert larger is not None
    assert (larger.instance_type, larger.maximum_workers) == ("r5.large", 1)
    assert larger.cost_per_worker_hour == 0.126
    plan = asked.plan("cloud")
    assert plan.problems == ()
    said = dict(plan.facts)["one larger worker"]
    assert said == "16 GiB, one of r5.4xlarge, r5.large, m5.large, 0.126 an hour"


@pytest.mark.parametrize(
    ("gibibytes", "types", "why"),
    [
        (4, ("m5.large",), "memory_ceiling = 4 GiB is not above the 4 GiB of c5.large"),
        (
            64,
            ("m5.large",),
            r"none of larger_instance_types has memory_ceiling = 64 GiB \(m5.large",
        ),
        (64, ("r5.vast",), "the region eu-central-1 has no instances of the type 'r5.vast'"),
    ],
)
def test_a_size_that_cannot_be_is_said_before_anything_is_started(
    aws: Cloud,
    specification: Ec2ClusterSpecification,
    gibibytes: int,
    types: tuple[str, ...],
    why: str,
) -> None:
    asked = with_ceiling(specification, gibibytes, *types)
    with (
        pytest.raises(ClusterError, match=f"the cluster cloud cannot be started: {why}"),
        asked.connected("cloud"),
    ):
        pass
    assert not instances(aws)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"larger_instance_types": ()}, "memory_ceiling and larger_instance_types go together"),
        ({"cuda": True}, "memory_ceiling needs cuda = false"),
        (
            {"budget_per_day": 1.0, "cost_per_worker_hour": 0.1},
            "budget_per_day with memory_ceiling needs cost_of_larger_per_hour",
        ),
        (
            {
                "memory_ceiling": None,
                "larger_instance_types": (),
                "cost_of_larger_per_hour": 1.0,
            },
            "cost_of_larger_per_hour needs memory_ceiling",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    aws: Cloud, specification: Ec2ClusterSpecification, change: dict[str, Any], why: str
) -> None:
    asked = with_ceiling(specification, 64, "r5.4xlarge").model_dump()
    with pytest.raises(ValidationError, match=why):
        Ec2ClusterSpecification.model_validate({**asked, **change})


def test_it_comes_for_what_needs_it_and_goes(
    aws: Cloud, specification: Ec2ClusterSpecification
) -> None:
    """Beside the others, at its own price; it offers the memory that its machine has."""
    asked = with_ceiling(
        specification,
        64,
        "r5.2xlarge",
        idle_seconds=0.5,
        cost_per_worker_hour=0.1,
        cost_of_larger_per_hour=0.5,
        budget_per_day=10.0,
    )
    with started(asked, "cloud", passing_place(asked.folder, "cloud")) as client:
        assert memory_ceiling(client) == 64 * GIB
        tell_demand(client, "somebody", Demand(1.0, 1, larger=1))
        client.wait_for_workers(2, timeout=120)
        (larger,) = [each for each in instances(aws) if each.instance_type == "r5.2xlarge"]
        assert tags(larger)["forebay:larger"] == "yes"
        (usual,) = [each for each in instances(aws) if each.instance_type == "c5.large"]
        assert "forebay:larger" not in tags(usual)
        assert spending(asked).promised() == pytest.approx(0.6)
        offered = {each["name"]: each["resources"] for each in known_workers(client).values()}
        assert offered[tags(usual)["Name"]] == {}
        assert offered[tags(larger)["Name"]]["MEMORY"] > 0
        tell_demand(client, "somebody", Demand(1.0, 1))
        eventually(lambda: larger.state == "terminated")
        # Moto, other than AWS, refuses to end what has ended: it has to be seen first.
        eventually(lambda: larger.id not in {each.machine for each in spending(asked).running()})
        assert usual.state == "running"
    assert not spending(asked).running()


def test_a_task_of_fargate_has_the_cpus_that_go_with_its_memory(
    aws: Cloud, fargate: FargateClusterSpecification
) -> None:
    """The scheduler says how much there can be; the worker offers it."""
    given = {"memory_ceiling": "64 GiB", "cost_of_larger_per_hour": 1.0}
    asked = FargateClusterSpecification.model_validate({**fargate.model_dump(), **given})
    plan = asked.plan("cloud")
    assert plan.problems == ()
    assert dict(plan.facts)["one larger worker"] == "16 CPUs, 64 GiB, 1 an hour"
    larger = asked.larger()
    assert larger is not None
    owner = Owner("cloud", site="here", start="1a2b")
    made = definition(larger, owner, LARGER)
    assert (made["cpu"], made["memory"]) == ("16384", "65536")
    (container,) = made["containerDefinitions"]
    assert container["name"] == "dask-worker"
    assert container["command"][-4:] == ["worker", "--threads", "1", "--larger"]
    (usual,) = definition(asked, owner, WORKER)["containerDefinitions"]
    assert "--larger" not in usual["command"]
    (scheduler,) = definition(asked, owner, SCHEDULER)["containerDefinitions"]
    assert scheduler["command"][-2:] == ["--memory-ceiling", str(64 * GIB)]


@pytest.mark.parametrize(
    ("ceiling", "why"),
    [
        ("16 GiB", "is not above memory = "),
        ("500 GiB", "memory_ceiling = 500 GiB: Fargate has no task of that memory with 4096"),
    ],
)
def test_a_task_that_fargate_does_not_have_is_refused(
    fargate: FargateClusterSpecification, ceiling: str, why: str
) -> None:
    given = {**fargate.model_dump(), "memory_ceiling": ceiling, "budget_per_day": None}
    with pytest.raises(ValidationError, match=why):
        FargateClusterSpecification.model_validate(given)
