"""What would be asked of EC2, and what is missing for it."""

import asyncio
import base64
from typing import Any

from forebay.cluster.aws.account import asking, client, code_of, need_libraries, refusal
from forebay.cluster.aws.owner import Owner
from forebay.cluster.aws.plan import network_problems, shown
from forebay.cluster.aws.specification import Ec2ClusterSpecification
from forebay.cluster.errors import ClusterError

_ALLOWED = "DryRunOperation"


def facts(specification: Ec2ClusterSpecification) -> list[tuple[str, str]]:
    """Return what it would be, for people."""
    market: str = specification.market
    if specification.spot_price is not None:
        market = f"{market}, spot for {specification.spot_price:g} an hour at the most"
    return [
        ("instance of a worker", specification.instance_type),
        ("instance of the scheduler", specification.scheduler_instance_type),
        ("machine image", specification.machine_image),
        ("market", market),
        ("instance profile", specification.instance_profile),
        *specification.larger_facts(
            f"{(specification.memory_ceiling or 0) / 2**30:.3g} GiB, one of "
            f"{', '.join(specification.larger_instance_types)}"
        ),
    ]


def request(specification: Ec2ClusterSpecification, name: str) -> str:
    """Return the request for the instance of a worker, with its user data readable.

    It is not sent: who has no way to AWS, or no credentials for it, can read it too.

    Raises
    ------
    ClusterError
        If what is configured of AWS here is no use.
    """
    need_libraries()
    with asking("for an instance"):
        asked, _ = _dry_run(specification, name, sent=False)
    # Botocore has encoded it already where the request was going to be sent.
    return shown({**asked, "UserData": _readable(asked["UserData"]).split("\n")})


def problems(specification: Ec2ClusterSpecification, name: str) -> list[str]:
    """Return what is missing, asking AWS without starting anything."""
    region = specification.region
    ec2 = client("ec2", region)
    found: list[str] = []
    types = {
        specification.instance_type,
        specification.scheduler_instance_type,
        *specification.larger_instance_types,
    }
    with asking("which types of instances there are"):
        offered = ec2.describe_instance_type_offerings(
            LocationType="region",
            Filters=[{"Name": "instance-type", "Values": sorted(types)}],
        )
    for missing in sorted(types - {x["InstanceType"] for x in offered["InstanceTypeOfferings"]}):
        found.append(f"the region {region} has no instances of the type {missing!r}")
    if not found:
        try:
            specification.larger()
        except ClusterError as error:
            found.append(str(error))
    found += network_problems(specification)
    for service, question, fields in (
        ("ec2", "describe_images", {"ImageIds": [specification.machine_image]}),
        ("iam", "get_instance_profile", {"InstanceProfileName": specification.instance_profile}),
    ):
        try:
            with asking(f"about {next(iter(fields.values()))}"):
                told = getattr(client(service, region), question)(**fields)
        except ClusterError as error:
            found.append(str(error))
        else:
            if told.get("Images") == []:
                found.append(f"there is no machine image {specification.machine_image} in {region}")
    if not found:
        _, answer = _dry_run(specification, name, sent=True)
        if code_of(answer) != _ALLOWED and answer is not None:
            found.append(refusal(answer, f"for an instance of {specification.instance_type}"))
    return found


def _dry_run(
    specification: Ec2ClusterSpecification, name: str, *, sent: bool
) -> tuple[dict[str, Any], Exception | None]:
    """Make the request for a worker, by the code that makes it, as one that starts nothing."""
    return asyncio.run(_dry_run_async(specification, name, sent=sent))


async def _dry_run_async(
    specification: Ec2ClusterSpecification, name: str, *, sent: bool
) -> tuple[dict[str, Any], Exception | None]:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from dask_cloudprovider.aws.ec2 import EC2Instance
    from distributed.core import Status

    from forebay.cluster.aws.ec2 import Ec2Cluster, Ec2Worker, complete

    caught: dict[str, Any] = {}

    owner = Owner(name, site="(the site)", start="(the start)")
    nothing: Any = None
    cluster: Any = Ec2Cluster(specification, owner, nothing, nothing, asynchronous=True)
    # It was never started, so there is nothing to close.
    cluster.status = Status.closed
    complete(cluster.boto_session, specification, dry=caught)
    if not sent:
        cluster.boto_session.register("before-call.ec2.RunInstances", _stop)
    scheduler = "tls://(scheduler):8786"
    worker: Any = Ec2Worker(scheduler, name=f"{name}.1", **cluster.worker_options)
    worker.spot = worker.markets[0]
    try:
        await EC2Instance.create_vm(worker)
    except _NotSentError:
        return caught, None
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        if not caught:
            # It did not come as far as asking.
            raise
        return caught, error
    raise AssertionError("a request that starts nothing has started something")


class _NotSentError(Exception):
    """A request is complete, and is not sent."""


def _stop(**_: Any) -> None:
    raise _NotSentError


def _readable(user_data: str) -> str:
    try:
        return base64.b64decode(user_data, validate=True).decode()
    except ValueError:
        return user_data
