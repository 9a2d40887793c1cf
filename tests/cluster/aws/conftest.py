"""AWS on a network with nothing but a loopback."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.aws.cloud import ADMINISTRATOR, KEYS, REGION, Cloud, cloud
from tests.cluster.aws.policy import Asked, refused
from tests.cluster.network import network

from forebay.cluster.aws.specification import Ec2ClusterSpecification

__all__ = ["network"]


@pytest.fixture(scope="module")
def aws(network: None, warmed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """AWS on loopback, and the credentials for it in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp("machines")
    with cloud(folder, warmed / "python") as made, pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": made.endpoint}.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def account(aws: Cloud) -> dict[str, Any]:
    """What the administrator has made: network, security group, role."""
    ec2 = aws.client("ec2")
    (vpc,) = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]]
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    group = ec2.create_security_group(GroupName="forebay", Description="forebay", VpcId=vpc)
    aws.client("iam").create_instance_profile(InstanceProfileName="forebay-worker")
    return {
        "region": REGION,
        "subnets": subnets[:2],
        "security_groups": [group["GroupId"]],
        "machine_image": ec2.register_image(Name="with-docker")["ImageId"],
        "instance_profile": "forebay-worker",
        "image": "registry.example.org/forebay:1",
        "instance_type": "c5.large",
        "maximum_workers": 3,
    }


@pytest.fixture
def specification(account: dict[str, Any], tmp_path: Path) -> Ec2ClusterSpecification:
    """A cluster in that account."""
    return Ec2ClusterSpecification(
        **account, folder=tmp_path / "clusters", look_seconds=0.3, start_seconds=90.0
    )


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the policy of the template allow all that is asked of AWS."""
    from aiobotocore.client import AioBaseClient
    from botocore.client import BaseClient

    asked: list[Asked] = []
    for kind in (BaseClient, AioBaseClient):
        make = kind._make_api_call

        def noted(self: Any, name: str, fields: dict[str, Any], make: Any = make) -> Any:
            credentials = self._request_signer._credentials
            if credentials is not None and credentials.access_key != ADMINISTRATOR:
                asked.append(Asked(f"{self.meta.service_model.endpoint_prefix}:{name}", fields))
            return make(self, name, fields)

        monkeypatch.setattr(kind, "_make_api_call", noted)
    yield
    assert refused(asked) == []


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the day be half over: at its end a machine is charged ahead for less than an hour."""
    monkeypatch.setattr("forebay.cluster.spending._midnight", lambda now: now - 12 * 3600)
