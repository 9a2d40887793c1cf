"""Join a scheduler that runs already, and leave it as it was."""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.client import client_of, known_workers, line_of
from forebay.cluster.errors import ClusterError
from forebay.cluster.health.watch import watched
from forebay.cluster.keeping.talk import is_kept
from forebay.cluster.loop import sheltered_loop
from forebay.cluster.plan import Plan
from forebay.cluster.versions import check_versions

if TYPE_CHECKING:
    from distributed import Client

_MOMENT = 1.0


@contextmanager
def join(specification: AddressSpecification) -> Iterator["Client"]:
    """Join the scheduler of a specification; it goes on after the block.

    Raises
    ------
    ClusterError
        If it does not answer, or runs other versions.
    """
    from distributed.utils import sync

    address = specification.address
    security = _security(specification)
    with sheltered_loop() as loop, ExitStack() as stack:
        try:
            # A client waits without end for one that takes its connection and says nothing, and
            # does not stop its loop where it fails.
            sync(loop, _knock, specification, security)
            client = stack.enter_context(
                client_of(address, loop=loop, timeout=specification.timeout, security=security)
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answered at {address} within {specification.timeout:g} s: "
                f"{_reason(error)}"
            ) from error
        check_versions(client, address)
        yield client


@contextmanager
def join_and_watch(specification: AddressSpecification, name: str) -> Iterator["Client"]:
    """Join the scheduler of a specification, and watch its workers, unless its keeper does.

    Raises
    ------
    ClusterError
        If it does not answer, or runs other versions.
    """
    with join(specification) as client, ExitStack() as stack:
        if not is_kept(client):
            stack.enter_context(watched(client, name))
        yield client


def _security(specification: AddressSpecification) -> Any:
    """Return the `distributed.Security` of tls://, or None."""
    from distributed import Security

    if not specification.address.startswith("tls://"):
        return None
    for file in (specification.ca_file, specification.cert_file, specification.key_file):
        if file is None or not file.is_file():
            raise ClusterError(f"{file} is not there: {specification.address} needs it")
    security: Any = Security(  # type: ignore[no-untyped-call]
        tls_ca_file=str(specification.ca_file),
        tls_client_cert=str(specification.cert_file),
        tls_client_key=str(specification.key_file),
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")
    except OSError as error:
        raise ClusterError(
            f"the certificates for {specification.address} cannot be used, give PEM files that "
            f"belong together: {line_of(error)}"
        ) from error
    return security


async def _knock(specification: AddressSpecification, security: Any) -> None:
    """Connect to the scheduler, and hang up once it has said who it is."""
    from distributed.comm.core import connect as connect_to

    arguments = {} if security is None else security.get_connection_args("client")
    try:
        async with asyncio.timeout(specification.timeout):
            # A little less, so that it can still say why the last attempt failed.
            seconds = 0.9 * specification.timeout
            comm = await connect_to(  # type: ignore[no-untyped-call]
                specification.address, timeout=seconds, **arguments
            )
    except TimeoutError:
        # A machine that is busy may not have come so far as to be refused.
        await asyncio.to_thread(_try, specification.address)
        raise OSError("something takes the connection there, and says nothing") from None
    await comm.close()


def _try(address: str) -> None:
    """Raise what the system says where nothing takes a connection."""
    from distributed.comm.addressing import get_address_host_port

    with socket.create_connection(get_address_host_port(address), _MOMENT):
        pass


def _reason(error: BaseException) -> str:
    """Return why the last attempt to connect failed, without the object in which it did."""
    last = error.__cause__ or error
    return (
        "is it running?"
        if isinstance(last, TimeoutError)
        else re.sub(r"^in <.*?>: ", "", line_of(last))
    )


def plan(specification: AddressSpecification) -> Plan:
    """Join the scheduler for a moment; return who is there, or why nobody can join it."""
    problems: list[str] = []
    try:
        with join(specification) as client:
            there = str(len(known_workers(client)))
    except ClusterError as error:
        problems.append(str(error))
        there = "not known"
    return Plan(
        (("scheduler", specification.address), ("workers", there)),
        problems=tuple(problems),
        cost_per_worker_hour=specification.cost_per_worker_hour,
    )
