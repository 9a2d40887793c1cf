"""Clusters on EC2 that cannot be: one sentence each, before anything is started."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.cluster.aws.cloud import Cloud
from tests.cluster.aws.test_ec2 import WORKER, instances

from forebay.cluster import ClusterError
from forebay.cluster.aws.ec2 import Ec2Scheduler
from forebay.cluster.aws.specification import Ec2ClusterSpecification


@contextmanager
def no_aws(asked: list[bytes]) -> Iterator[str]:
    """Answer everything with a page, and note what was asked."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!doctype html>\n<title>Log in</title>")

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_is_not_there_is_said_before_anything_is_started(
    aws: Cloud, specification: Ec2ClusterSpecification
) -> None:
    """A sentence for each, from check and from start alike."""
    wrong = specification.model_copy(
        update={
            "instance_type": "c5.huge",
            "machine_image": "ami-0000000000000dead",
            "subnets": ("subnet-0000000000000dead",),
            "security_groups": ("sg-0000000000000dead",),
            "instance_profile": "nobody",
        }
    )
    problems = wrong.plan("cloud").problems
    for why in (
        "the region eu-central-1 has no instances of the type",
        "ami-0000000000000dead",
        "subnet-0000000000000dead",
        "sg-0000000000000dead",
        "nobody",
    ):
        assert any(why in problem for problem in problems), problems
    with (
        pytest.raises(ClusterError, match="the cluster cloud cannot be started"),
        wrong.connected("cloud"),
    ):
        pass
    assert not instances(aws)


def test_an_image_without_the_package_is_what_is_asked_about() -> None:
    """Its container ends at once, and the instance with it: nobody waits for its time to be up."""

    async def why_ended(machine: str) -> str:
        return "Client.InstanceInitiatedShutdown"

    cluster = SimpleNamespace(specification=SimpleNamespace(start_seconds=60), why_ended=why_ended)
    scheduler: Any = SimpleNamespace(
        address="tls://127.0.0.1:1",
        external_address=None,
        cluster=cluster,
        instance={"InstanceId": "i-0a"},
        docker_image="registry.example.org/other:1",
    )
    with pytest.raises(
        ClusterError,
        match=r"i-0a has ended \(Client.Inst\w+\): has registry.example.org/other:1 forebay\[aws\]",
    ):
        asyncio.run(Ec2Scheduler.wait_for_scheduler(scheduler))


def test_the_reason_is_told_also_where_the_instance_cannot_be_ended(
    aws: Cloud, specification: Ec2ClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mock has forgotten the network of one that has ended by itself."""
    monkeypatch.setattr(aws, "python", Path("/bin/false"))
    with (
        pytest.raises(
            ClusterError, match=r"does not start: .*has ended .*forebay:1 forebay\[aws\]"
        ),
        specification.connected("cloud"),
    ):
        pass
    assert not instances(aws)


def test_what_is_no_aws_is_told(
    aws: Cloud, specification: Ec2ClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the page of a proxy that asks for a password, in the place of an answer.

    What would be asked for is shown, and was not sent for that: the first question is the only one.
    """
    asked: list[bytes] = []
    with no_aws(asked) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        plan = specification.plan("cloud")
    (problem,) = plan.problems
    assert json.loads(plan.submitted)["InstanceType"] == WORKER
    assert all(b"GetCallerIdentity" in each for each in asked), asked
    assert problem == (
        f"what answered who we are does not speak as AWS does: at AWS_ENDPOINT_URL, {endpoint}"
    )


def test_without_credentials_it_says_how_to_give_them(
    aws: Cloud, specification: Ec2ClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And still shows what would be asked for."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    plan = specification.plan("cloud")
    assert "there are no credentials for AWS: name a profile in AWS_PROFILE" in plan.problems[0]
    assert json.loads(plan.submitted)["InstanceType"] == WORKER


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE names a profile that is not configured: .*nobody"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials for AWS: name a profile"),
    ],
    ids=["unknown profile", "half of a key"],
)
def test_credentials_that_cannot_be_are_one_sentence(
    aws: Cloud,
    specification: Ec2ClusterSpecification,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
) -> None:
    """Whoever shows the request needs them too, before it asks who we are."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (problem,) = specification.plan("cloud").problems
    assert re.match(said, problem)
