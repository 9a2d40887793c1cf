"""A cluster on EC2: dask-cloudprovider's, with what it does not do.

Its release 2025.9 starts machines well, and is not used for the following: it puts the TLS keys and
the whole Dask configuration of this process into the user data of every machine and leaves them
set here; it has no way to fall back from spot to on-demand capacity; it cannot make its default
security group, which would be open to the world; it waits without end for a scheduler that does not
come; it needs a default VPC; and it gives machines their public address alone where they have one.
"""

import asyncio
import logging
import time
from typing import Any

from botocore.exceptions import ClientError
from dask_cloudprovider.aws.ec2 import EC2Cluster, EC2Instance
from dask_cloudprovider.generic.vmcluster import SchedulerMixin, WorkerMixin

from forebay.cluster.aws.account import asking, code_of, share_models
from forebay.cluster.aws.owner import LARGER_TAG, REQUEST_TAG, Owner
from forebay.cluster.aws.specification import Ec2ClusterSpecification
from forebay.cluster.aws.unanswered import Unanswered
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.environment import worker_environment
from forebay.cluster.spending import Spending
from forebay.cluster.worker_memory import ENVIRONMENT

PORT = 8786
NO_CAPACITY = frozenset(
    {
        "InsufficientCapacityOnOutpost",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientInstanceCapacity",
        "InsufficientReservedInstanceCapacity",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "Unsupported",
    }
)
"""Codes of EC2 after which another subnet, or another market, may still do."""
_GIB = 2**30
_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 2.0
_logger = logging.getLogger("forebay.cluster")
_IN_VAIN = {"shutting-down", "terminated", "stopping", "stopped"}


class _Instance(EC2Instance):  # type: ignore[misc]  # it has no types
    """An instance that is charged for, and asked for wherever there may be one."""

    markets: tuple[bool, ...] = (False,)
    """Whether spot is asked for, in turn."""
    price: float = 0.0
    instance_tags: dict[str, str]
    instance: Any
    """What EC2 says of it; None before it is there, and when it has ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A pool gives its own, and looks for what came of the request; else reaping does.
        self.unanswered = Unanswered(self.cluster.spending)

    async def create_vm(self) -> tuple[str, str | None]:
        """Start it where there is capacity; return its private and its public address."""
        cluster = self.cluster
        token = cluster.spending.reserve(
            cluster.owner.start,
            price=self.price,
            budget_per_day=cluster.specification.budget_per_day,
        )
        self.instance_tags = {**self.instance_tags, REQUEST_TAG: token}
        self.token = token
        try:
            return await self._bought()
        except BaseException as error:
            if self.instance is None:
                self.unanswered.take(token, error)
            raise

    async def _bought(self) -> tuple[str, str | None]:
        refused: list[str] = []
        for spot in self.markets:
            for subnet in self.cluster.specification.subnets:
                self.spot, self.subnet_id = spot, subnet
                try:
                    with asking(f"for an instance of {self.instance_type}"):
                        addresses: tuple[str, str | None] = await super().create_vm()
                        return addresses
                except ClusterError as error:
                    code = code_of(error.__cause__)
                    if code not in NO_CAPACITY:
                        raise
                    market = "spot" if self.spot else "on demand"
                    refused.append(f"{code} ({market}, {self.subnet_id})")
        raise ClusterError(
            f"EC2 has no {self.instance_type} now: {'; '.join(refused)}. Give more subnets, another "
            "instance_type, or market = 'spot-or-on-demand'"
        )

    async def configure_vm(self, client: Any) -> tuple[str, str | None]:
        """Take in which instance it is, and wait for its addresses."""
        # First of all: if this process dies now, what the instance costs is known.
        self.cluster.spending.began(self.token, self.instance["InstanceId"])
        await super().configure_vm(client)
        return self.instance["PrivateIpAddress"], self.instance.get("PublicIpAddress")

    async def destroy_vm(self) -> None:
        """End it, if there is one.

        Raises
        ------
        ClusterError
            If it cannot be ended.
        """
        if self.instance is None:
            return
        machine = self.instance["InstanceId"]
        try:
            with asking(f"to end the instance {machine}"):
                await super().destroy_vm()
        except ClusterError as error:
            if code_of(error.__cause__) != "InvalidInstanceID.NotFound":
                raise
        self.cluster.spending.ended([machine])
        self.instance = None

    async def give_up(self) -> None:
        """End it where something has gone wrong: that is to be told, not that it cannot be ended."""
        try:
            await self.destroy_vm()
        except ClusterError as error:
            _logger.warning(
                "%s: 'forebay cluster reap %s' ends it", error, self.cluster.owner.cluster
            )
            # Dask closes what has failed, and would ask for it once more.
            self.instance = None


class Ec2Scheduler(SchedulerMixin, _Instance):  # type: ignore[misc]
    """The instance of the scheduler: always on demand."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        specification = self.cluster.specification
        self.gpu_instance = False
        self.price = specification.cost_of_scheduler_per_hour
        self.command = (
            f"{self.cluster.node_command} scheduler --port {PORT} "
            f"--most-workers {specification.maximum_workers} "
            f"--orphan-seconds {specification.orphan_seconds:g}"
        )
        if specification.memory_ceiling is not None:
            self.command += f" --memory-ceiling {int(specification.memory_ceiling)}"

    async def wait_for_scheduler(self) -> None:
        """Wait until it listens, as long as it may come.

        Raises
        ------
        ClusterError
            If it does not.
        """
        host = (self.external_address or self.address).split("://")[1].rsplit(":", 1)[0]
        patience = self.cluster.specification.start_seconds
        deadline = time.monotonic() + patience
        machine = self.instance["InstanceId"]
        while time.monotonic() < deadline:
            if await _listens(host):
                return
            ended = await self.cluster.why_ended(machine)
            if ended:
                raise ClusterError(
                    f"the scheduler's instance {machine} has ended ({ended}): has "
                    f"{self.docker_image} forebay[aws] in this version? 'aws ec2 get-console-output "
                    f"--instance-id {machine}' says more"
                )
            await asyncio.sleep(_LOOK_SECONDS)
        raise ClusterError(
            f"the scheduler on {machine} cannot be reached at {host}:{PORT} within {patience:g} s: "
            f"do the security groups let this machine in, and has {self.docker_image} forebay[aws]?"
        )

    async def start(self) -> None:
        """Start it; end it if it does not come."""
        try:
            await super().start()
        except BaseException:
            await self.give_up()
            raise


class Ec2Worker(WorkerMixin, _Instance):  # type: ignore[misc]
    """The instance of a worker; with `larger` of the one that has so much memory."""

    def __init__(
        self,
        scheduler: str,
        *args: Any,
        name: str,
        larger: Ec2ClusterSpecification | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(scheduler, *args, **kwargs)
        specification = larger or self.cluster.specification
        if larger is not None:
            self.instance_type = larger.instance_type
            self.instance_tags = {**self.instance_tags, LARGER_TAG: "yes"}
        # Its own choice would be unknown to what looks after workers by their names.
        self.name = name
        self.gpu_instance = specification.cuda
        self.env_vars = worker_environment(specification.environment, gpus=specification.cuda)
        self.price = specification.cost_per_worker_hour or 0.0
        self.markets = {
            "on-demand": (False,),
            "spot": (True,),
            "spot-or-on-demand": (True, False),
        }[specification.market]
        more = (" --cuda" if specification.cuda else "") + (" --larger" if larger else "")
        self.command = (
            f"{self.cluster.node_command} worker {scheduler} --name {name} "
            f"--threads {specification.threads_per_worker} --notice{more}"
        )


class Ec2Cluster(EC2Cluster):  # type: ignore[misc]
    """The scheduler's instance, and what workers' instances are made from.

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
        specification: Ec2ClusterSpecification,
        owner: Owner,
        spending: Spending,
        security: Any,
        **options: Any,
    ) -> None:
        self.specification = specification
        self.owner = owner
        self.spending = spending
        self._certificates = security
        tags = {**specification.tags, **owner.tags}
        super().__init__(
            region=specification.region,
            bootstrap=False,
            auto_shutdown=True,
            ami=specification.machine_image,
            scheduler_instance_type=specification.scheduler_instance_type,
            worker_instance_type=specification.instance_type,
            # Asked for only where no subnet is given.
            vpc="unused",
            subnet_id=specification.subnets[0],
            security_groups=list(specification.security_groups),
            filesystem_size=-(-int(specification.disk) // _GIB),
            key_name=specification.key_name,
            iam_instance_profile={"Name": specification.instance_profile},
            docker_image=specification.image,
            instance_tags=tags,
            volume_tags=tags,
            use_private_ip=not specification.public_address,
            enable_detailed_monitoring=False,
            env_vars={**ENVIRONMENT, **specification.environment},
            # With certificates given here it would set them for all that Dask does in this process.
            security=False,
            protocol="tls",
            **options,
        )
        share_models(self.boto_session)

    @property
    def node_command(self) -> str:
        """What each machine runs, up to what it is for."""
        return (
            f"python -m forebay.cluster.aws.node --region {self.specification.region} "
            f"--certificates {self.owner.parameter}"
        )

    async def _start(self) -> None:
        self.scheduler_class, self.worker_class = Ec2Scheduler, Ec2Worker
        self.security = self._certificates
        complete(self.boto_session, self.specification)
        try:
            await super()._start()
        except BaseException:
            if self.scheduler is not None:
                await self.scheduler.give_up()
            raise

    def _log(self, log: str) -> None:
        # It would print it, into what commands print for other programs.
        _logger.debug("%s", log)

    def worker(self, name: str, larger: Ec2ClusterSpecification | None = None) -> Ec2Worker:
        """Return a worker that is not started yet."""
        return Ec2Worker(self.scheduler.address, name=name, larger=larger, **self.worker_options)

    async def why_ended(self, machine: str) -> str:
        """Return why an instance has ended; empty while it lives."""
        async with self.boto_session.create_client("ec2", region_name=self.region) as client:
            try:
                answer = await client.describe_instances(InstanceIds=[machine])
            except ClientError as error:
                # What was just started may be unknown for a moment.
                if code_of(error) == "InvalidInstanceID.NotFound":
                    return ""
                raise
        (instance,) = [each for one in answer["Reservations"] for each in one["Instances"]]
        return reason_of(instance) if instance["State"]["Name"] in _IN_VAIN else ""


def complete(
    session: Any, specification: Ec2ClusterSpecification, *, dry: dict[str, Any] | None = None
) -> None:
    """Add to each request of a session for an instance what dask-cloudprovider leaves out.

    Parameters
    ----------
    session
        The session of aiobotocore.
    specification
        What is wanted.
    dry
        If given: no request starts anything any more, and what is asked is put in here.
    """

    def completed(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked = {
            **params,
            # Without a token of its own session, nothing on the machine is answered.
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        }
        for device in asked["BlockDeviceMappings"]:
            device.pop("VirtualName", None)
            device["Ebs"]["Encrypted"] = True
        if "InstanceMarketOptions" in asked:
            options = {
                **asked["InstanceMarketOptions"]["SpotOptions"],
                "InstanceInterruptionBehavior": "terminate",
            }
            if specification.spot_price is not None:
                options["MaxPrice"] = f"{specification.spot_price:g}"
            asked["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
        if dry is None:
            return asked
        dry.update(asked)
        return {**asked, "DryRun": True}

    session.register("provide-client-params.ec2.RunInstances", completed)


def reason_of(instance: dict[str, Any]) -> str:
    """Return what EC2 says of the end of an instance."""
    said = instance.get("StateReason", {}).get("Message") or instance.get("StateTransitionReason")
    return str(said or instance["State"]["Name"])


async def _listens(host: str) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, PORT)
    except OSError:
        return False
    writer.close()
    return True
